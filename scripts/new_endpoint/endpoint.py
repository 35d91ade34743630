"""The endpoint that `make new` creates. Checks its name, method and path, and derives the other names that the files need."""

import re
from typing import NamedTuple

METHODS = ("GET", "POST", "PUT", "DELETE")
# The name of the function also contains the stack's name, and Lambda accepts 64 characters.
LONGEST_NAME = 40
# With longer parameters, rustfmt would break the generated lines at other places.
LONGEST_PARAMETER = 20
# With a longer path, a generated line of the tests could have more than 100 characters.
LONGEST_PATH = 64

# Words that Rust or cargo reserves.
RUST = set(
    "abstract as async await become box break const continue crate do dyn else enum extern false final fn for gen if impl in let loop macro match mod move "
    "mut override priv pub ref return self static struct super trait true try type typeof unsafe unsized use virtual where while yield".split()
)
CARGO = set("alloc build core deps examples incremental main proc-macro std test tests".split())


class Refused(Exception):
    """Raised if no endpoint is written. All files are then as before. The message contains the problem, the value and the accepted values."""


class Endpoint(NamedTuple):
    name: str
    method: str
    path: str

    @classmethod
    def parse(cls, name, method, path):
        """Checks each of the three values alone. The functions that insert a value check whether the value fits the repository."""
        if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > LONGEST_NAME:
            raise Refused(f"NAME is {shown(name)}; accepted: lower-case words joined by `-`, at most {LONGEST_NAME} characters, for example `orders-list`")
        if name in RUST | CARGO:
            raise Refused(f"NAME is `{name}`, which Rust or cargo reserves; accepted: another name, for example `{name}-show`")
        if method not in METHODS:
            raise Refused(f"METHOD is {shown(method)}; accepted: {', '.join(METHODS)}")
        part = r"([a-z0-9]+([-_.][a-z0-9]+)*|\{[a-z][a-z0-9]*(_[a-z0-9]+)*\})"
        if not re.fullmatch(rf"/api(/{part})+", path) or len(path) > LONGEST_PATH:
            raise Refused(
                f"PATH is {shown(path)}; accepted: `/api/` and lower-case parts or parameters like `{{id}}` between slashes, at most {LONGEST_PATH} characters, "
                "for example `/api/orders/{id}`"
            )
        endpoint = cls(name, method, path)
        for parameter in endpoint.parameters:
            if len(parameter) > LONGEST_PARAMETER:
                raise Refused(f"PATH is `{path}`; accepted: parameters of at most {LONGEST_PARAMETER} characters; found `{{{parameter}}}`")
            if parameter in RUST | {"function"} or endpoint.parameters.count(parameter) > 1:
                raise Refused(f"PATH is `{path}`; accepted: parameters that differ, that are no words of Rust and not `function`; found `{{{parameter}}}`")
        return endpoint

    @property
    def parameters(self):
        return re.findall(r"\{(\w+)\}", self.path)

    @property
    def route(self):
        return f"{self.method} {self.path}"

    @property
    def methods(self):
        """The methods of the endpoint. An endpoint with GET also answers HEAD."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)

    @property
    def camel(self):
        """The beginning of the names of the template's resources."""
        return "".join(word.capitalize() for word in self.name.split("-"))

    @property
    def snake(self):
        """The module of the integration tests."""
        return self.name.replace("-", "_")

    @property
    def example(self):
        """The path with a value for each parameter: `id-1` for `{id}`."""
        return re.sub(r"\{(\w+)\}", r"\1-1", self.path)

    @property
    def tag(self):
        """The group in openapi.json: the first part of the path, or the function's name."""
        first = self.path.split("/")[2]
        return self.name if first.startswith("{") else first


def shown(value):
    return f"`{value}`" if value else "not set"
