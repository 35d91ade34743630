"""Prints the parameters of an environment in samconfig.toml, one per line: parameters.py <environment>

The script rejects a value that the SAM CLI would split, because such a value could add a hidden parameter. The script exits
with 3 if samconfig.toml lacks a parameter that has no default in template.yaml. Then scripts/deploy asks the operator.
"""

import re
import shlex
import sys

# These parameters belong to one deployment. `sam deploy --guided` also saves these parameters.
NOT_ASKED_FOR = {"BuildId", "DeploymentAlarms"}


class Unusable(Exception):
    """Raised if the file is invalid. The message contains no value, because a value can be a secret."""


def overrides(deploy):
    """Returns the parameters of one environment. samconfig.toml contains a list, or the single string that `sam deploy --guided` writes."""
    given = deploy.get("parameter_overrides", [])
    pairs = shlex.split(given) if isinstance(given, str) else given
    return {name: value for name, value in map(parameter, pairs) if name not in NOT_ASKED_FOR}


def parameter(pair):
    """Splits a parameter into name and value. The SAM CLI accepts several parameters in one string. It splits the string at blanks,
    searches it for `ParameterKey=`, and removes quotes and backslashes."""
    name, equals, value = pair.partition("=") if isinstance(pair, str) else ("", "", "")
    if not equals or not re.fullmatch("[A-Za-z0-9]+", name):
        raise Unusable("invalid parameter: expected Name=value")
    if not value.isprintable() or re.search(r"""[\s"'\\]|ParameterKey=""", value):
        raise Unusable(f"the value of {name} contains a blank, a line break, a quote, a backslash or `ParameterKey=`; the SAM CLI would read another value or more parameters")
    return name, value


def missing(template, given):
    """Returns the names of the required parameters that are missing in `given`."""
    return [name for name, parameter in template["Parameters"].items() if "Default" not in parameter and name not in given and name not in NOT_ASKED_FOR]


def main(environment):
    # These packages belong to the SAM CLI. Its Python interpreter runs this script.
    import tomlkit
    from samtranslator.yaml_helper import yaml_parse

    with open("samconfig.toml", encoding="utf-8") as file:
        environments = tomlkit.load(file).unwrap()
    if environment not in environments:
        sys.exit(f"samconfig.toml has no environment `{environment}`")
    try:
        given = overrides(environments[environment]["deploy"]["parameters"])
    except Unusable as problem:
        sys.exit(f"samconfig.toml, {environment}: {problem}")
    for name, value in given.items():
        print(f"{name}={value}")
    with open("template.yaml", encoding="utf-8") as file:
        lacking = missing(yaml_parse(file.read()), given)
    if lacking:
        print(f"samconfig.toml lacks required parameters of {environment}: {', '.join(lacking)}", file=sys.stderr)
        sys.exit(3)


if __name__ == "__main__":
    main(*sys.argv[1:])
