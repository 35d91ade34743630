"""Checks of parameters, rules, variables and the configuration of `sam deploy`."""

import re
import sys

from checks import BROUGHT, BROUGHT_WITH_IAM, CREATED, DEPLOYMENTS, DEVELOPMENT, REQUIRED, SECRETS, check, spoil
from cloudformation import ROOT, Broken, binaries, camel, toml

sys.path.insert(0, str(ROOT / "scripts"))
import parameters as scripts_parameters  # noqa: E402

REDIS_SECRETS = ("RedisUrlSecretArn", "RedisIdempotencyUrlSecretArn", "RedisHealthUrlSecretArn")
MONGODB_SECRETS = ("MongodbUriSecretArn", "MongodbReadUriSecretArn", "MongodbIdempotencyUriSecretArn", "MongodbPingUriSecretArn")

# The settings that the template does not set, grouped by reason.
NOT_SET = {
    "the default is meant for Lambda": {
        "HEALTH_CHECK_TIMEOUT_MS",
        "HEALTH_CRITICAL",
        "HEALTH_MEMO_MS",
        "HEALTH_SLOW_MS",
        "HEALTH_TOTAL_TIMEOUT_MS",
        "IDEMPOTENCY_LEASE_GRACE_MS",
        "IDEMPOTENCY_LEASE_MS",
        "IDEMPOTENCY_MAX_RESPONSE_BYTES",
        "IDEMPOTENCY_TTL_SECONDS",
        "PAYMENT_CANCEL_AFTER_SECONDS",
        "PAYMENT_PROVIDER_TIMEOUT_MS",
        "PAYMENT_RECONCILE_AFTER_SECONDS",
        "REDIS_IDLE_CHECK_MS",
        "SECRETS_TTL_SECONDS",
    },
    "it is for local development or a test": {"LEDGER_DIR", "STRIPE_API_BASE"},
    "the memory fallback exists only in development": {"IDEMPOTENCY_FALLBACK", "IDEMPOTENCY_MEMORY_BYTES", "IDEMPOTENCY_MEMORY_ENTRIES"},
    "it names a file, and a function package contains only its binary": {"REDIS_CA_FILE"},
    "the template creates the secret that holds it": {"PAYMENT_MAC_KEYS"},
    "Lambda sets it": {"AWS_LAMBDA_LOG_FORMAT", "AWS_LAMBDA_LOG_LEVEL", "AWS_REGION"},
}


def known_variables():
    """The variables in docs/configuration.md, except for variables that only Lambda or a test sets."""
    text = (ROOT / "docs/configuration.md").read_text().split("\n## Set by Lambda")[0]
    names = set(re.findall(r"^\| `([A-Z_]+)` \|", text, re.MULTILINE))
    assert len(names) > 25, names
    return names


def set_variables(templates):
    stack = templates.stack(**REQUIRED)
    return {
        variable
        for name in binaries()
        for variable in stack.resources[f"{camel(name)}Function"]["Properties"]["Environment"]["Variables"]
    }


@check(
    spoil("IdempotencyFunction", "Environment", "Variables", "IDEMPOTENCY_NAMESPACE"),
    lambda t: t.main["Globals"]["Function"]["Environment"]["Variables"].pop("ENVIRONMENT"),
    spoil("IdempotencyFunction", "Environment", "Variables", "LEDGER_DIR", to="/tmp"),
    lambda t: [t.resource(f"{camel(name)}Function").get("Environment", {"Variables": {}})["Variables"].pop("MONGODB_DATABASE", None) for name in binaries()],
)
def every_setting_is_set_or_left_out_for_a_reason(templates):
    """tests/integration/parity.rs checks the opposite: the code reads each variable of the template."""
    left_out = [name for names in NOT_SET.values() for name in names]
    known, found = known_variables(), set_variables(templates)
    assert sorted(known - found) == sorted(left_out), (known - found) ^ set(left_out)


@check(
    lambda t: t.main["Rules"].pop("CreatedCacheNeedsMongodb"),
    lambda t: t.main["Rules"].pop("SecretsAreNotParameters"),
    lambda t: t.main["Rules"].pop("OneOrigin"),
    lambda t: t.main["Rules"]["StoresCanBeReached"]["Assertions"].pop(0),
    lambda t: t.main["Rules"]["StoresCanBeReached"]["Assertions"].pop(1),
    lambda t: t.main["Rules"]["SecretsAreNotParameters"].update(RuleCondition={"Fn::Equals": [{"Ref": "Environment"}, "production"]}),
    lambda t: t.main["Rules"]["SecretsAreNotParameters"]["Assertions"].pop(),
    lambda t: t.main["Rules"]["CreatedCacheNeedsMongodb"]["Assertions"].pop(0),
    lambda t: t.main["Rules"]["EachDomainHasItsOwnLogin"].update(RuleCondition={"Fn::Equals": [{"Ref": "Environment"}, "production"]}),
    lambda t: t.main["Rules"]["EachDomainHasItsOwnLogin"]["Assertions"].pop(0),
    lambda t: t.main["Rules"]["EachDomainHasItsOwnLogin"]["Assertions"].pop(1),
    lambda t: t.main["Rules"]["EachDomainHasItsOwnLogin"]["Assertions"].pop(2),
    lambda t: t.main["Rules"]["EachDomainHasItsOwnLogin"]["Assertions"].pop(3),
    lambda t: t.main["Rules"]["LoginsAreWhole"]["Assertions"].pop(0),
    lambda t: t.main["Rules"]["LoginsAreWhole"]["Assertions"].pop(1),
    lambda t: t.main["Rules"]["LoginsAreWhole"]["Assertions"].pop(2),
)
def unsafe_parameters_are_refused(templates):
    def refused(word, parameters, **more):
        sentences = templates.stack(**{**parameters, **more}).refusals()
        assert len(sentences) == 1 and word in sentences[0], (more, sentences)

    for parameters in DEPLOYMENTS.values():
        assert templates.stack(**parameters).refusals() == []
    for environment in ("production", "staging"):
        at = {**REQUIRED, "Environment": environment, "RedisCidr": "10.20.0.0/16", "MongodbCidr": "0.0.0.0/0"}
        refused("RedisUrlSecretArn", at, RedisUrl="rediss://:secret@cache.example:6379")
        refused("MongodbUriSecretArn", at, MongodbUri="mongodb://user:secret@host/")
        refused("StripeApiKeySecretArn", at, StripeApiKey="sk_live_1")
        refused("StripeWebhookSecretsSecretArn", at, StripeWebhookSecrets="whsec_1")
        refused("HealthDetailsTokenSecretArn", at, HealthDetailsToken="token")
        brought = {**BROUGHT, "Environment": environment}
        for secrets, what in ((REDIS_SECRETS, "user of Redis"), (MONGODB_SECRETS, "login of MongoDB")):
            for name in secrets[1:]:
                refused(what, brought, **{name: ""})
        for secrets, what in ((REDIS_SECRETS, "URL of Redis"), (MONGODB_SECRETS, "URI of MongoDB")):
            for one in secrets:
                for other in secrets:
                    if one != other:
                        refused(what, brought, **{one: BROUGHT[other]})
    without = dict.fromkeys(MONGODB_SECRETS, "")
    refused("MongodbUriSecretArn", CREATED, **without)
    refused("without RedisUrlSecretArn", {**REQUIRED, "RedisHealthUrlSecretArn": BROUGHT["RedisHealthUrlSecretArn"]})
    refused("without MongodbUriSecretArn", {**REQUIRED, "MongodbReadUriSecretArn": BROUGHT["MongodbReadUriSecretArn"]})
    refused("share an ElastiCache user", CREATED, RedisIdempotencyUser="truebond-payments")
    refused("share an ElastiCache user", CREATED, RedisIdempotencyUser="truebond-health")
    refused("share an ElastiCache user", CREATED, RedisHealthUser="truebond-payments")
    for mongodb in ("MongodbUri", "MongodbUriSecretArn"):
        refused("MongodbCidr", REQUIRED, Environment="development", **{mongodb: DEVELOPMENT.get(mongodb, SECRETS["MongodbUriSecretArn"])})
    refused("MongodbEndpointService", CREATED, MongodbEndpointService="")
    refused("RedisCidr", BROUGHT, RedisCidr="")
    refused("RedisCidr", BROUGHT_WITH_IAM, RedisCidr="")
    refused("names an existing Redis", CREATED, RedisCidr=BROUGHT["RedisCidr"], **{name: BROUGHT[name] for name in REDIS_SECRETS})
    refused("serverless", CREATED, RedisCacheType="replication_group")
    refused("Set only one of them", DEVELOPMENT, MongodbUriSecretArn=CREATED["MongodbUriSecretArn"])
    refused("Set only one of them", DEVELOPMENT, StripeApiKeySecretArn=CREATED["StripeApiKeySecretArn"])
    refused("Set only one of them", DEVELOPMENT, StripeWebhookSecretsSecretArn=CREATED["StripeWebhookSecretsSecretArn"])
    refused("Set only one of them", BROUGHT_WITH_IAM, **{name: BROUGHT[name] for name in REDIS_SECRETS})


@check(
    lambda t: t.main["Parameters"]["StripeApiKey"].pop("NoEcho"),
    lambda t: t.main["Parameters"]["MongodbUri"].pop("NoEcho"),
    lambda t: t.main["Parameters"]["MongodbUri"].update(Default=""),
    lambda t: t.main["Parameters"]["StripeApiKeySecretArn"].update(AllowedPattern=".*"),
    lambda t: t.main["Parameters"]["StripeApiKeySecretArn"].update(AllowedPattern="(arn:.+:secretsmanager:.+)?"),
)
def parameters_for_secrets_are_hidden(templates):
    parameters = templates.main["Parameters"]
    for name in ("RedisUrl", "MongodbUri", "StripeApiKey", "StripeWebhookSecrets", "HealthDetailsToken"):
        assert parameters[name].get("NoEcho") is True, name
        # `sam deploy --guided` repeats a hidden question until the answer is not empty.
        assert parameters[name]["Default"] == "none", name
    # Secrets Manager accepts an ARN without the last characters, but a policy with such an ARN allows nothing.
    for wrong in ("sk_live_1", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:truebond/stripe"):
        for name in parameters:
            if name.endswith("SecretArn"):
                try:
                    templates.stack(**REQUIRED, **{name: wrong})
                except Broken:
                    continue
                raise AssertionError(f"{name} accepts `{wrong}`")


@check(
    lambda t: t.main["Parameters"].pop("AlarmEmail"),
    lambda t: t.main["Parameters"]["Cache"].update(AllowedValues=["bring"]),
    lambda t: t.main["Parameters"].update(More={"Type": "String"}),
)
def each_environment_of_samconfig_uses_existing_parameters(templates):
    config = toml("samconfig.toml")
    environments = set(config) - {"version"}
    assert {"development", "staging", "production"} <= environments, environments
    stacks = set()
    for name in environments:
        deploy = config[name]["deploy"]["parameters"]
        stacks.add(deploy["stack_name"])
        assert set(deploy["capabilities"].split()) >= {"CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"}, name
        assert deploy["resolve_s3"] is True and deploy["confirm_changeset"] is True, name
        given = scripts_parameters.overrides(deploy)
        # `make deploy` asks the operator for the required parameters.
        stack = templates.stack(**{**REQUIRED, **given})
        assert given["Environment"] == name
        assert stack.parameters["AlarmEmail"] == given.get("AlarmEmail", "")
    assert len(stacks) == len(environments)
