"""Checks of functions, routes and versions."""

import re

from checks import BROUGHT, CREATED, DEPLOYMENTS, REQUIRED, check, remove, spoil
from cloudformation import ROOT, binaries, camel, toml

# Routes without a token: a health prober has no token, and Stripe signs its events.
PUBLIC = {
    ("GET", "/api/health"),
    ("HEAD", "/api/health"),
    ("GET", "/api/health/redis"),
    ("HEAD", "/api/health/redis"),
    ("GET", "/api/health/detailed"),
    ("HEAD", "/api/health/detailed"),
    ("POST", "/api/payments/webhook"),
}
# Functions without a route. A schedule or other functions invoke them.
INVOKED = {"payments-reconcile", "idempotency"}
# Functions that open no connection.
WITHOUT_TLS = {"health"}
API_GATEWAY_SECONDS = 30


def routes(stack):
    """The routes of the deployed API: (method, path) and its operation."""
    (api,) = stack.of_type("AWS::ApiGatewayV2::Api").values()
    return {
        (method.upper(), path): operation
        for path, operations in api["Body"]["paths"].items()
        for method, operation in operations.items()
    }


def function(stack, name):
    return stack.resources[f"{camel(name)}Function"]["Properties"]


@check(
    remove("IdempotencyFunction"),
    spoil("HealthFunction", "FunctionName", to="health"),
    lambda t: t.main["Resources"]["HealthFunction"]["Metadata"]["BuildProperties"].update(Binary="healthy"),
)
def every_binary_is_a_function(templates):
    stack = templates.stack(**REQUIRED)
    built = {}
    for name, resource in templates.main["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            assert resource["Metadata"]["BuildMethod"] == "rust-cargolambda"
            built[resource["Metadata"]["BuildProperties"]["Binary"]] = name
    assert built == {name: f"{camel(name)}Function" for name in binaries()}, built
    for name in built:
        assert function(stack, name)["FunctionName"] == f"tb-test-{name}"


@check(
    lambda t: t.main["Globals"]["Function"].update(Architectures=["x86_64"]),
    lambda t: t.main["Globals"]["Function"].update(Runtime="provided.al2"),
    lambda t: t.main["Globals"]["Function"].update(MemorySize=128),
    lambda t: t.main["Globals"]["Function"].pop("Tracing"),
    lambda t: t.main["Globals"]["Function"]["LoggingConfig"].update(LogFormat="Text"),
    spoil("PaymentsGetFunction", "LoggingConfig", "LogGroup"),
    spoil("PaymentsCreateFunction", "Timeout", to=30),
    spoil("PaymentsReconcileFunction", "Timeout", to=60),
    spoil("IdempotencyFunction", "Timeout", to=60),
)
def every_function_has_the_common_settings(templates):
    stack = templates.stack(**REQUIRED)
    for name in binaries():
        properties = function(stack, name)
        assert properties["Architectures"] == ["arm64"], name
        assert properties["Runtime"] == "provided.al2023" and properties["Handler"] == "bootstrap", name
        assert properties["TracingConfig"] == {"Mode": "Active"}, name
        assert properties["LoggingConfig"] == {"LogFormat": "JSON", "LogGroup": f"<{camel(name)}LogGroup>"}, name
        least = 128 if name in WITHOUT_TLS else 512
        assert properties["MemorySize"] >= least, (name, properties["MemorySize"])
        assert properties["Timeout"] < API_GATEWAY_SECONDS or name == "payments-reconcile", (name, properties["Timeout"])
    # The longest run stays below the threshold of the duration alarm.
    (run,) = re.findall(r"LONGEST_RUN: Duration = Duration::from_secs\((\d+)\)", (ROOT / "shared/crates/payments/src/reconcile.rs").read_text())
    assert int(run) < 0.8 * function(stack, "payments-reconcile")["Timeout"], run


@check(
    remove("IdempotencyLogGroup"),
    spoil("HealthLogGroup", "KmsKeyId"),
    spoil("HealthLogGroup", "RetentionInDays"),
    spoil("AccessLogGroup", "KmsKeyId"),
    lambda t: t.main["Resources"]["PaymentsCreateLogGroup"].update(DeletionPolicy="Delete"),
    spoil("HealthLogGroup", "LogGroupName", to="/aws/lambda/health"),
)
def every_function_has_an_encrypted_log_group_with_a_retention(templates):
    stack = templates.stack(**REQUIRED)
    groups = stack.of_type("AWS::Logs::LogGroup")
    for name, group in groups.items():
        assert group["KmsKeyId"] == "<Key.Arn>", name
        assert group["RetentionInDays"] == "30", name
    for name in binaries():
        assert groups[f"{camel(name)}LogGroup"]["LogGroupName"] == f"/aws/lambda/tb-test-{name}"
        if not name.startswith("health"):
            # The logs of payments are kept after the stack is deleted.
            policy = stack.resources[f"{camel(name)}LogGroup"]["DeletionPolicy"]
            assert policy == "RetainExceptOnCreate", name


@check(
    spoil("PaymentsGetFunction", "ReservedConcurrentExecutions", to=10),
    spoil("PaymentsReconcileFunction", "ReservedConcurrentExecutions", to=2),
    lambda t: t.main["Globals"]["Function"].pop("ReservedConcurrentExecutions"),
    spoil("HealthFunction", "ReservedConcurrentExecutions", to={"Ref": "AWS::NoValue"}),
)
def concurrency_is_reserved_only_by_parameter(templates):
    for reserved in (None, 20):
        stack = templates.stack(**REQUIRED, **({"ReservedConcurrency": reserved} if reserved else {}))
        for name in binaries():
            expected = 1 if name == "payments-reconcile" else reserved
            found = function(stack, name).get("ReservedConcurrentExecutions")
            assert (found and int(found)) == expected, (name, found)


@check(
    spoil("PaymentsGetFunction", "Events", "Head"),
    spoil("HealthFunction", "Events", "Get", "Properties", "Path", to="/health"),
    spoil("HttpApi", "Auth", "DefaultAuthorizer"),
    spoil("PaymentsGetFunction", "Events", "Get", "Properties", "Auth", to={"Authorizer": "NONE"}),
    spoil("PaymentsWebhookFunction", "Events", "Post", "Properties", "Auth"),
    spoil("PaymentsCreateFunction", "Events", "Post", "Properties", "Auth"),
    spoil("HttpApi", "Auth", "Authorizers", "Jwt", "JwtConfiguration", "issuer", to="https://other.example"),
)
def every_route_invokes_its_function_and_requires_a_token_unless_public(templates):
    stack = templates.stack(**REQUIRED, JwtWriteScope="payments:write")
    local = toml("Cargo.toml")["workspace"]["metadata"]["lambda"]["watch"]["router"]
    found = routes(stack)
    assert {path for _, path in found} == set(local), sorted(found)
    assert set(local.values()) == set(binaries()) - INVOKED
    for method, path in found:
        uri = found[method, path]["x-amazon-apigateway-integration"]["uri"]
        assert f"<{camel(local[path])}FunctionAliaslive>" in uri, (method, path, uri)
        assert method != "GET" or ("HEAD", path) in found, path
        security = found[method, path]["security"]
        if (method, path) in PUBLIC:
            assert security == [{"NONE": []}], (method, path)
        elif method not in ("GET", "HEAD"):
            assert security == [{"Jwt": ["payments:write"]}], (method, path, security)
        else:
            assert security == [{"Jwt": []}], (method, path, security)
    assert PUBLIC <= set(found)
    without_scope = routes(templates.stack(**REQUIRED))
    assert without_scope["POST", "/api/payments"]["security"] == [{"Jwt": []}]
    (api,) = stack.of_type("AWS::ApiGatewayV2::Api").values()
    authorizer = api["Body"]["components"]["securitySchemes"]["Jwt"]["x-amazon-apigateway-authorizer"]
    assert authorizer["jwtConfiguration"] == {"issuer": "https://id.example", "audience": ["api"]}
    assert authorizer["identitySource"] == "$request.header.Authorization"


@check(
    spoil("PaymentsCreateFunction", "Events", "Post", "Properties", "RouteSettings", to={"ThrottlingRateLimit": {"Ref": "PaymentsPerSecond"}, "ThrottlingBurstLimit": 50}),
    spoil("PaymentsWebhookFunction", "Events", "Post", "Properties", "RouteSettings"),
    spoil("HealthFunction", "Events", "Get", "Properties", "RouteSettings", "ThrottlingRateLimit"),
    spoil("HealthFunction", "Events", "Get", "Properties", "RouteSettings", "ThrottlingRateLimit", to={"Ref": "PaymentsPerSecond"}),
    spoil("HttpApi", "RouteSettings", to={"GET /api/other": {"ThrottlingRateLimit": 1, "ThrottlingBurstLimit": 1}}),
    spoil("HttpApi", "DefaultRouteSettings"),
)
def every_route_is_throttled(templates):
    stack = templates.stack(**REQUIRED, PaymentsPerSecond=7)
    (stage,) = stack.of_type("AWS::ApiGatewayV2::Stage").values()
    assert stage["StageName"] == "$default"
    settings = stage["RouteSettings"]
    assert set(settings) == {f"{method} {path}" for method, path in routes(stack)} - {"POST /api/payments"}
    for limits in settings.values():
        # The template has numbers here. The value of a parameter would stay a string, which API Gateway rejects.
        assert all(isinstance(limits[name], int) for name in ("ThrottlingRateLimit", "ThrottlingBurstLimit")), limits
    assert stage["DefaultRouteSettings"] == {"ThrottlingRateLimit": "7", "ThrottlingBurstLimit": "7"}


@check(
    lambda t: t.resource("HttpApi").update(CorsConfiguration={"AllowOrigins": ["*"]}),
    # SAM drops the other members of a mapping that contains an intrinsic function.
    lambda t: t.resource("HttpApi").update(CorsConfiguration={"AllowOrigins": {"Fn::Split": [",", {"Ref": "CorsAllowOrigins"}]}, "AllowHeaders": ["idempotency-key"]}),
    lambda t: t.resource("HttpApi")["CorsConfiguration"]["Fn::If"][1].pop("allowHeaders"),
)
def only_pages_of_named_origins_may_call_the_api(templates):
    def cors(**parameters):
        (api,) = templates.stack(**REQUIRED, **parameters).of_type("AWS::ApiGatewayV2::Api").values()
        return api["Body"].get("x-amazon-apigateway-cors")

    assert cors() is None
    named = cors(CorsAllowOrigins="https://a.example,https://b.example")
    assert named["allowOrigins"] == ["https://a.example", "https://b.example"]
    assert "idempotency-key" in named["allowHeaders"] and "authorization" in named["allowHeaders"]
    assert "idempotent-replayed" in named["exposeHeaders"] and isinstance(named["maxAge"], int)


@check(
    spoil("HealthFunction", "AutoPublishCodeSha256"),
    spoil("HealthFunction", "DeploymentPreference"),
    spoil("PaymentsCreateFunction", "DeploymentPreference", "Alarms", to=[{"Ref": "PaymentServerErrorsAlarm"}]),
    spoil("PaymentsCreateFunction", "DeploymentPreference", "Alarms", "Fn::If", 1, 1),
    spoil("PaymentsGetFunction", "DeploymentPreference", "Alarms", to=[{"Fn::GetAtt": "PaymentsGetAlarms.Outputs.NewVersionErrors"}]),
    lambda t: t.main["Parameters"]["DeploymentAlarms"].update(Default="ignored"),
    lambda t: t.main["Globals"]["Function"].pop("AutoPublishAlias"),
    lambda t: t.main["Globals"]["Function"]["DeploymentPreference"].update(Type="AllAtOnce"),
    lambda t: t.main["Parameters"]["BuildId"].update(Default="1764112500"),
    lambda t: t.main["Parameters"]["BuildId"].update(AllowedPattern=".+"),
)
def every_deployment_publishes_versions_and_shifts_traffic_gradually(templates):
    build = templates.main["Parameters"]["BuildId"]
    # SAM puts the first ten characters of the build id into the name of a version's resource.
    assert "Default" not in build and build["AllowedPattern"] == "[a-z0-9]{10}"

    def versions(build_id):
        stack = templates.stack(**{**REQUIRED, "BuildId": build_id})
        return stack, set(stack.of_type("AWS::Lambda::Version"))

    stack, one = versions("1764112500")
    other, two = versions("1764112501")
    assert len(one) == len(binaries()) and not one & two, one & two
    for name in binaries():
        # Lambda publishes a version only if something differs from the previous one.
        assert function(stack, name)["Description"] != function(other, name)["Description"], name
        alias = stack.resources[f"{camel(name)}FunctionAliaslive"]
        assert "CodeDeployLambdaAliasUpdate" in alias["UpdatePolicy"], name
        group = stack.resources[f"{camel(name)}FunctionDeploymentGroup"]["Properties"]
        assert "Canary10Percent5Minutes" in group["DeploymentConfigName"], name
        assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"], name
        alarms = {alarm["Name"] for alarm in group["AlarmConfiguration"]["Alarms"]}
        assert f"<{camel(name)}Alarms.Outputs.NewVersionErrors>" in alarms, (name, alarms)
        if name == "payments-create":
            assert "<PaymentServerErrorsAlarm>" in alarms, alarms
    # An active alarm would block the deployment that repairs its cause.
    repairing = templates.stack(**REQUIRED, DeploymentAlarms="ignored")
    for name in binaries():
        assert repairing.resources[f"{camel(name)}FunctionDeploymentGroup"]["Properties"]["AlarmConfiguration"] == {}, name


@check(
    spoil("PaymentsReconcileFunction", "Events", "Schedule", "Properties", "DeadLetterConfig"),
    spoil("PaymentsReconcileFunction", "Events", "Schedule", "Properties", "Name"),
    spoil("PaymentsReconcileFunction", "Events", "Schedule", "Properties", "ScheduleExpression", to="rate(1 hour)"),
    spoil("PaymentsReconcileFunction", "EventInvokeConfig"),
    spoil("ReconcileDeadLetterQueue", "SqsManagedSseEnabled"),
)
def payments_are_reconciled_every_minute_and_failed_events_are_kept(templates):
    stack = templates.stack(**REQUIRED)
    (schedule,) = stack.of_type("AWS::Scheduler::Schedule").values()
    assert schedule["ScheduleExpression"] == "rate(1 minute)"
    assert schedule["Name"].startswith("tb-test-"), "two stacks in one account need different names"
    target = schedule["Target"]
    assert target["Arn"] == "<PaymentsReconcileFunctionAliaslive>"
    assert target["DeadLetterConfig"]["Arn"] == "<ReconcileDeadLetterQueue.Arn>"
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 0}
    (failed,) = stack.of_type("AWS::Lambda::EventInvokeConfig").values()
    assert failed["Qualifier"] == "live"
    assert failed["DestinationConfig"]["OnFailure"]["Destination"] == "<ReconcileDeadLetterQueue.Arn>"
    assert stack.resources["ReconcileDeadLetterQueue"]["Properties"]["SqsManagedSseEnabled"] is True


@check(
    spoil("AccessLogGroup", "LogGroupName", to="truebond"),
    spoil("AlarmTopic", "TopicName", to="alarms"),
    lambda t: t.files["deploy/monitoring.yaml"]["Resources"]["Dashboard"]["Properties"].update(DashboardName="truebond"),
)
def two_stacks_in_one_account_have_different_names(templates):
    """Names in the template contain the stack's name. The names of the cache are parameters."""
    chosen = re.compile(r"(?<!Meta)(FunctionName|LogGroupName|QueueName|TopicName|AlarmName|DashboardName)$")
    stack = templates.stack(**CREATED)
    for part in [stack, *stack.nested().values()]:
        for name, resource in part.resources.items():
            for key, value in resource["Properties"].items():
                if chosen.search(key) and not str(value).startswith("<"):
                    assert "tb-test" in value, (name, key, value)


@check(
    lambda t: t.main["Parameters"]["JwtIssuer"].update(Default="https://id.example"),
    lambda t: t.main["Parameters"]["JwtIssuer"].update(AllowedPattern=".*"),
)
def a_deployment_requires_an_issuer_and_an_audience_of_tokens(templates):
    issuer = templates.main["Parameters"]["JwtIssuer"]
    assert "Default" not in issuer and not re.fullmatch(issuer["AllowedPattern"], "http://id.example")
    assert "Default" not in templates.main["Parameters"]["JwtAudience"]


@check(
    spoil("HealthFunction", "Role", to={"Fn::GetAtt": "HealthyRole.Arn"}),
    lambda t: t.main["Resources"]["AlarmEmailSubscription"].update(Condition="CreatesCache"),
    spoil("PaymentsCreateFunction", "Environment", "Variables", "REDIS_URL", to={"Fn::GetAtt": "Valkey.Endpoint.Address"}),
)
def every_deployment_refers_only_to_resources_that_it_creates(templates):
    for parameters in DEPLOYMENTS.values():
        templates.stack(**parameters).nested()
    assert "AlarmEmailSubscription" in templates.stack(**BROUGHT, AlarmEmail="a@b.example").exists
    assert "AlarmEmailSubscription" not in templates.stack(**CREATED).exists
