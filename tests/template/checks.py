"""Checks of the templates. A check is a function that asserts a property. For each check, there are changes to the templates with
which the check must fail."""

from cloudformation import Templates

CHECKS = []

# The parameters that every deployment needs.
REQUIRED = {
    "BuildId": "1764112500",
    "VpcId": "vpc-1",
    "PrivateSubnetIds": "subnet-a,subnet-b",
    "JwtIssuer": "https://id.example",
    "JwtAudience": "api",
}
SECRETS = {
    name: f"arn:aws:secretsmanager:eu-west-1:123456789012:secret:{name}-a1B2c3"
    for name in (
        "MongodbUriSecretArn",
        "MongodbReadUriSecretArn",
        "MongodbIdempotencyUriSecretArn",
        "MongodbPingUriSecretArn",
        "StripeApiKeySecretArn",
        "StripeWebhookSecretsSecretArn",
        "HealthDetailsTokenSecretArn",
    )
}
REDIS_SECRETS = {
    name: f"arn:aws:secretsmanager:eu-west-1:123456789012:secret:{name}-a1B2c3"
    for name in ("RedisUrlSecretArn", "RedisIdempotencyUrlSecretArn", "RedisHealthUrlSecretArn")
}

# The deployments that checks use.
CREATED = {**REQUIRED, **SECRETS, "Cache": "create", "MongodbEndpointService": "com.amazonaws.vpce.eu-west-1.vpce-svc-1"}
BROUGHT = {
    **REQUIRED,
    **SECRETS,
    **REDIS_SECRETS,
    "RedisCidr": "10.20.0.0/16",
    "MongodbCidr": "0.0.0.0/0",
    "SecretsKeyArn": "arn:aws:kms:eu-west-1:123456789012:key/1",
}
BROUGHT_WITH_IAM = {
    **REQUIRED,
    **SECRETS,
    "RedisUrl": "rediss://cache.example:6379",
    "RedisAuth": "iam",
    "RedisCacheName": "shared",
    "RedisCacheType": "replication_group",
    "RedisCidr": "10.20.0.0/16",
    "MongodbCidr": "0.0.0.0/0",
}
DEVELOPMENT = {
    **REQUIRED,
    "Environment": "development",
    "MongodbUri": "mongodb://user:password@host/",
    "MongodbCidr": "0.0.0.0/0",
    "StripeApiKey": "sk_test_1",
    "StripeWebhookSecrets": "whsec_1",
    "HealthDetailsToken": "token",
}
DEPLOYMENTS = {"created": CREATED, "brought": BROUGHT, "brought with IAM": BROUGHT_WITH_IAM, "development": DEVELOPMENT, "least": REQUIRED}


def check(*spoilers):
    """Registers a check and its spoilers. A spoiler changes `Templates` in place, and the check must then fail."""
    if not spoilers:
        raise TypeError("a check needs at least one change that makes it fail")

    def register(function):
        CHECKS.append((function, spoilers))
        return function

    return register


def spoil(resource, *path, to=None):
    """Sets the property at `path` of a resource of template.yaml to `to`. If there is no `to`, removes the property."""

    def change(templates: Templates):
        *way, last = path
        at = templates.resource(resource)
        for step in way:
            at = at[step]
        if to is None:
            del at[last]
        else:
            at[last] = to

    return change


def remove(name, path="template.yaml"):
    def change(templates: Templates):
        del templates.files[path]["Resources"][name]

    return change


def add(name, kind, path="template.yaml", **properties):
    def change(templates: Templates):
        templates.files[path]["Resources"][name] = {"Type": kind, "Properties": properties}

    return change
