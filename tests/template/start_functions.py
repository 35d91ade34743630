"""Starts each built function with the variables of each deployment: a value that the code does not take ends it here, and not at
the first invocation. Called with the folder of the programs."""

import subprocess
import sys

from checks import DEPLOYMENTS
from cloudformation import Templates, binaries, camel

# What Lambda adds. Without a Runtime API a function says so and ends, which is as far as it gets here.
LAMBDA = {"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand", "AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_REGION": "eu-west-1"}
# What is known only when the stack is there.
CREATED = {
    "<Valkey.Endpoint.Address>": "cache.example",
    "<Valkey.Endpoint.Port>": "6379",
    "<PaymentMacKeys>": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:PaymentMacKeys-a1B2c3",
}
STARTED = "AWS_LAMBDA_RUNTIME_API is not set"


def said(program, variables):
    ended = subprocess.run([program], env={**LAMBDA, **variables}, capture_output=True, text=True, timeout=60)
    return (ended.stdout + ended.stderr).strip()


def created(value):
    for name, made in CREATED.items():
        value = value.replace(name, made)
    return value


def main(folder):
    wrong = []
    for deployment, parameters in DEPLOYMENTS.items():
        stack = Templates().stack(**parameters)
        for name in binaries():
            variables = stack.resources[f"{camel(name)}Function"]["Properties"]["Environment"]["Variables"]
            answer = said(f"{folder}/{name}", {key: created(str(value)) for key, value in variables.items()})
            if STARTED not in answer:
                wrong.append(f"{name}, {deployment}: {answer}")
    if STARTED in said(f"{folder}/health", {"ENVIRONMENT": "what is no name"}):
        wrong.append("a function starts with a variable that is wrong")
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(binaries())} functions start in {len(DEPLOYMENTS)} deployments")


if __name__ == "__main__":
    main(*sys.argv[1:])
