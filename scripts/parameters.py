"""The parameters of an environment in samconfig.toml, a line for each: parameters.py <environment>

Ends with 3 where it does not say all that template.yaml has no default for, so that somebody has to be asked.
"""

import shlex
import sys

# Of one deployment alone. `sam deploy --guided` would save them all the same.
NOT_ASKED_FOR = {"BuildId", "DeploymentAlarms"}


def overrides(deploy):
    """The parameters of one environment. A person writes a list, `sam deploy --guided` one text."""
    given = deploy.get("parameter_overrides", [])
    pairs = shlex.split(given) if isinstance(given, str) else given
    return {name: value for name, value in (each.split("=", 1) for each in pairs) if name not in NOT_ASKED_FOR}


def missing(template, given):
    """What has to be said, and is not."""
    return [name for name, parameter in template["Parameters"].items() if "Default" not in parameter and name not in given and name not in NOT_ASKED_FOR]


def main(environment):
    # Of the SAM CLI, with which this runs.
    import tomlkit
    from samtranslator.yaml_helper import yaml_parse

    with open("samconfig.toml", encoding="utf-8") as file:
        environments = tomlkit.load(file).unwrap()
    if environment not in environments:
        sys.exit(f"samconfig.toml has no environment `{environment}`")
    given = overrides(environments[environment]["deploy"]["parameters"])
    for name, value in given.items():
        print(f"{name}={value}")
    with open("template.yaml", encoding="utf-8") as file:
        unsaid = missing(yaml_parse(file.read()), given)
    if unsaid:
        print(f"samconfig.toml does not say {', '.join(unsaid)} of {environment}", file=sys.stderr)
        sys.exit(3)


if __name__ == "__main__":
    main(*sys.argv[1:])
