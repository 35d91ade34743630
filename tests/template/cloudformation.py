"""Evaluates a template as CloudFormation does, without an AWS account: expands SAM, evaluates conditions and rules, and resolves
every reference. A reference to a missing resource is an error, found before a deployment."""

import copy
import json
import logging
import os
import re
from pathlib import Path

os.environ.setdefault("AWS_DEFAULT_REGION", "eu-west-1")

from samtranslator.model.exceptions import InvalidDocumentException  # noqa: E402
from samtranslator.translator.transform import transform  # noqa: E402
from samtranslator.yaml_helper import yaml_parse  # noqa: E402

logging.getLogger("samtranslator").setLevel(logging.CRITICAL)

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11
    from pip._vendor import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]

PSEUDO = {
    "AWS::StackName": "tb-test",
    "AWS::Region": "eu-west-1",
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
}
NO_VALUE = object()
EXPANDED = {}


class Broken(Exception):
    """Raised if CloudFormation would reject the template or its parameters."""


def read(path):
    return without_anchors(yaml_parse((ROOT / path).read_text()))


def without_anchors(node):
    """A copy in which no two places share an object, as in the file that `sam build` writes. With YAML anchors, one object appears in several
    places, so a test that changes the object for one function would change it for all functions."""
    if isinstance(node, dict):
        return {key: without_anchors(value) for key, value in node.items()}
    return [without_anchors(value) for value in node] if isinstance(node, list) else node


class Templates:
    """The templates of the repository. Spoilers change a copy in memory."""

    def __init__(self):
        self.files = {path: read(path) for path in ("template.yaml", "deploy/function-alarms.yaml", "deploy/monitoring.yaml", "deploy/network.yaml")}

    def copy(self):
        return copy.deepcopy(self)

    @property
    def main(self):
        return self.files["template.yaml"]

    def resource(self, name):
        return self.main["Resources"][name]["Properties"]

    def stack(self, **parameters):
        return Stack(self, "template.yaml", parameters)


class Stack:
    """One stack, evaluated with these parameters. `resources` contains the resources whose condition holds. Their values are evaluated if
    they are known before the deployment."""

    def __init__(self, templates, path, parameters):
        self.templates = templates
        self.path = path
        source = copy.deepcopy(templates.files[path])
        self.parameters = self._parameters(source.get("Parameters", {}), parameters)
        self.rules = source.get("Rules", {})
        if "Transform" in source:
            source = self._expand(source)
        self.conditions = source.get("Conditions", {})
        self.source = source["Resources"]
        self.exists = {name for name, resource in self.source.items() if self._holds(resource.get("Condition"))}
        self.resources = {}
        for name in sorted(self.exists):
            self.resources[name] = {key: self.value(part) for key, part in self.source[name].items() if key != "Condition"}
        for output in source.get("Outputs", {}).values():
            if self._holds(output.get("Condition")):
                self.value(output["Value"])

    def of_type(self, kind):
        return {name: resource["Properties"] for name, resource in self.resources.items() if resource["Type"] == kind}

    def nested(self):
        """The nested stacks."""
        stacks = {}
        for name, properties in self.of_type("AWS::CloudFormation::Stack").items():
            given = {key: str(value) for key, value in properties.get("Parameters", {}).items()}
            stacks[name] = Stack(self.templates, properties["TemplateURL"], given)
        return stacks

    def refusals(self):
        """The descriptions of the template's rules that these parameters violate."""
        refused = []
        for rule in self.rules.values():
            if "RuleCondition" in rule and not self.truth(rule["RuleCondition"]):
                continue
            refused += [each["AssertDescription"] for each in rule["Assertions"] if not self.truth(each["Assert"])]
        return refused

    def _expand(self, source):
        for resource in source["Resources"].values():
            if resource["Type"] == "AWS::Serverless::Function":
                resource["Properties"]["CodeUri"] = "s3://bucket/key"

        class NoManagedPolicies:
            def load(self):
                return {}

        # Cached, because SAM is slow and most tests evaluate the same few deployments.
        key = json.dumps([source, self.parameters], sort_keys=True)
        if key not in EXPANDED:
            try:
                EXPANDED[key] = transform(source, dict(self.parameters), NoManagedPolicies())
            except InvalidDocumentException as refused:
                raise Broken("; ".join(str(cause.message) for cause in refused.causes)) from refused
        return EXPANDED[key]

    @staticmethod
    def _parameters(declared, given):
        values = {}
        for name, declaration in declared.items():
            if name in given:
                value = str(given[name])
            elif "Default" in declaration:
                value = str(declaration["Default"])
            else:
                raise Broken(f"missing parameter {name}")
            pattern = declaration.get("AllowedPattern")
            if pattern and not re.fullmatch(pattern, value):
                raise Broken(f"{name} is `{value}`; expected the pattern {pattern}")
            allowed = [str(each) for each in declaration.get("AllowedValues", [value])]
            if value not in allowed:
                raise Broken(f"{name} is `{value}`; expected one of {allowed}")
            values[name] = value
        unknown = set(given) - set(declared)
        if unknown:
            raise Broken(f"unknown parameters: {sorted(unknown)}")
        return values

    def _holds(self, condition):
        return condition is None or self.truth(self.conditions[condition])

    def truth(self, expression):
        ((function, given),) = expression.items()
        if function == "Condition":
            return self._holds(given)
        if function == "Fn::Not":
            return not self.truth(given[0])
        if function == "Fn::And":
            return all(self.truth(each) for each in given)
        if function == "Fn::Or":
            return any(self.truth(each) for each in given)
        if function == "Fn::Equals":
            left, right = (str(self.value(each)) for each in given)
            return left == right
        raise Broken(f"unsupported function {function} in a condition")

    def value(self, node):
        """Evaluates `node`. A value that is known only after the deployment becomes `<Resource>` or `<Resource.Attribute>`."""
        if isinstance(node, list):
            values = [self.value(each) for each in node]
            return [each for each in values if each is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((function, given),) = node.items()
            if function == "Ref":
                return self._ref(given)
            if function == "Fn::GetAtt":
                name, attribute = given if isinstance(given, list) else given.split(".", 1)
                return self._resource(name, attribute)
            if function == "Fn::Sub":
                return self._sub(given)
            if function == "Fn::If":
                condition, then, otherwise = given
                if condition not in self.conditions:
                    raise Broken(f"unknown condition {condition}")
                return self.value(then if self._holds(condition) else otherwise)
            if function == "Fn::Join":
                return given[0].join(str(each) for each in self.value(given[1]))
            if function == "Fn::Split":
                return str(self.value(given[1])).split(given[0])
            if function == "Fn::Select":
                index, choices = given
                choices = self.value(choices)
                return choices[int(index)] if isinstance(choices, list) else f"{choices}[{index}]"
            if function in ("Fn::GetAZs", "Fn::Cidr"):
                return f"{function}({self.value(given)})"
            if function.startswith("Fn::"):
                raise Broken(f"unsupported function {function}")
        values = {key: self.value(each) for key, each in node.items()}
        return {key: each for key, each in values.items() if each is not NO_VALUE}

    def _ref(self, name):
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self.parameters:
            value = self.parameters[name]
            declared = self.templates.files[self.path]["Parameters"][name]["Type"]
            return value.split(",") if declared.startswith(("List<", "CommaDelimitedList")) else value
        return self._resource(name)

    def _resource(self, name, attribute=None):
        if name not in self.source:
            raise Broken(f"unknown resource {name}")
        if name not in self.exists:
            raise Broken(f"reference to {name}, which this deployment does not create")
        return f"<{name}.{attribute}>" if attribute else f"<{name}>"

    def _sub(self, given):
        text, own = (given, {}) if isinstance(given, str) else given

        def one(match):
            name = match.group(1)
            if name in own:
                return str(self.value(own[name]))
            return str(self._resource(*name.split(".", 1)) if "." in name else self._ref(name))

        return re.sub(r"\$\{([^!}]+)\}", one, text)


def camel(name):
    return "".join(word.capitalize() for word in name.split("-"))


def binaries():
    """The names of the functions, from their folders. Another test compares folders and binaries."""
    return sorted(path.parent.name for path in (ROOT / "functions").glob("*/Cargo.toml"))


def toml(path):
    return tomllib.loads((ROOT / path).read_text())
