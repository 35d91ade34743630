"""The parameters of an environment in samconfig.toml, a line for each: parameters.py <environment>

A value that the SAM CLI would read as more than one word is refused: it could bring along a parameter that the file does not show. Ends
with 3 where the file lacks a parameter that has no default in template.yaml, so that the operator has to be asked.
"""

import re
import shlex
import sys

# Of one deployment alone. `sam deploy --guided` would save them all the same.
NOT_ASKED_FOR = {"BuildId", "DeploymentAlarms"}


class Unusable(Exception):
    """What is wrong with the file. It shows no value, as one may be a secret."""


def overrides(deploy):
    """The parameters of one environment. A person writes a list, `sam deploy --guided` one text."""
    given = deploy.get("parameter_overrides", [])
    pairs = shlex.split(given) if isinstance(given, str) else given
    return {name: value for name, value in map(parameter, pairs) if name not in NOT_ASKED_FOR}


def parameter(pair):
    """Name and value. The SAM CLI reads several parameters in one text: it takes them apart at blanks, and looks for `ParameterKey=`
    anywhere in it; and it takes quotes and backslashes away."""
    name, equals, value = pair.partition("=") if isinstance(pair, str) else ("", "", "")
    if not equals or not re.fullmatch("[A-Za-z0-9]+", name):
        raise Unusable("a parameter is not of the form Name=value")
    if not value.isprintable() or re.search(r"""[\s"'\\]|ParameterKey=""", value):
        raise Unusable(f"the value of {name} has a blank, a line break, a quote, a backslash or `ParameterKey=`: the SAM CLI would read another value, or more parameters")
    return name, value


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
    try:
        given = overrides(environments[environment]["deploy"]["parameters"])
    except Unusable as problem:
        sys.exit(f"samconfig.toml, {environment}: {problem}")
    for name, value in given.items():
        print(f"{name}={value}")
    with open("template.yaml", encoding="utf-8") as file:
        unsaid = missing(yaml_parse(file.read()), given)
    if unsaid:
        print(f"samconfig.toml does not say {', '.join(unsaid)} of {environment}", file=sys.stderr)
        sys.exit(3)


if __name__ == "__main__":
    main(*sys.argv[1:])
