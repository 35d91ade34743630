"""Starts each built function with the variables of each deployment, and fails if the function rejects a value. Without this check, a
wrong value would fail only the first invocation. The argument is the folder of the programs."""

import subprocess
import sys

from checks import DEPLOYMENTS
from cloudformation import Templates, binaries, camel

# Variables that Lambda adds. There is no Runtime API here, so a function with valid settings ends with the error STARTED.
LAMBDA = {"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand", "AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_REGION": "eu-west-1"}
# Values that are known only after the deployment.
CREATED = {
    "<Valkey.Endpoint.Address>": "cache.example",
    "<Valkey.Endpoint.Port>": "6379",
    "<PaymentMacKeys>": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:PaymentMacKeys-a1B2c3",
}
STARTED = "AWS_LAMBDA_RUNTIME_API is not set"


def output_of(program, variables):
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
            answer = output_of(f"{folder}/{name}", {key: created(str(value)) for key, value in variables.items()})
            if STARTED not in answer:
                wrong.append(f"{name}, {deployment}: {answer}")
    if STARTED in output_of(f"{folder}/health", {"ENVIRONMENT": "not a valid name"}):
        wrong.append("a function starts with an invalid variable")
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(binaries())} functions start in {len(DEPLOYMENTS)} deployments")


if __name__ == "__main__":
    main(*sys.argv[1:])
