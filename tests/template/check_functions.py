"""Functions, routes, versions."""

import re

from checks import BROUGHT, CREATED, DEPLOYMENTS, REQUIRED, check, remove, spoil
from cloudformation import ROOT, binaries, camel, toml

# Whoever asks needs no token: a prober has none, and Stripe signs.
PUBLIC = {
    ("GET", "/api/health"),
    ("HEAD", "/api/health"),
    ("GET", "/api/health/redis"),
    ("HEAD", "/api/health/redis"),
    ("GET", "/api/health/detailed"),
    ("HEAD", "/api/health/detailed"),
    ("POST", "/api/payments/webhook"),
}
# Without a route: a schedule, and other functions, invoke them.
INVOKED = {"payments-reconcile", "idempotency"}
# It opens no connection.
WITHOUT_TLS = {"health"}
API_GATEWAY_SECONDS = 30


def routes(stack):
    """Of the API as deployed: (method, path) and what it is."""
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
def every_function_is_set_up_alike(templates):
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
    # Its runs, as long as they may be, are below what the alarm on the timeout calls slow.
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
def every_function_has_a_log_group_that_is_encrypted_and_ends(templates):
    stack = templates.stack(**REQUIRED)
    groups = stack.of_type("AWS::Logs::LogGroup")
    for name, group in groups.items():
        assert group["KmsKeyId"] == "<Key.Arn>", name
        assert group["RetentionInDays"] == "30", name
    for name in binaries():
        assert groups[f"{camel(name)}LogGroup"]["LogGroupName"] == f"/aws/lambda/tb-test-{name}"
        if not name.startswith("health"):
            # What happened to payments outlives the stack.
            policy = stack.resources[f"{camel(name)}LogGroup"]["DeletionPolicy"]
            assert policy == "RetainExceptOnCreate", name


@check(
    spoil("PaymentsGetFunction", "ReservedConcurrentExecutions", to=10),
    spoil("PaymentsReconcileFunction", "ReservedConcurrentExecutions", to=2),
    lambda t: t.main["Globals"]["Function"].pop("ReservedConcurrentExecutions"),
    spoil("HealthFunction", "ReservedConcurrentExecutions", to={"Ref": "AWS::NoValue"}),
)
def concurrency_is_reserved_where_it_is_asked_for(templates):
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
def every_route_has_its_function_and_wants_a_token_unless_it_is_public(templates):
    stack = templates.stack(**REQUIRED, JwtWriteScope="payments:write")
    local = toml("Cargo.toml")["workspace"]["metadata"]["lambda"]["watch"]["router"]
    found = routes(stack)
    assert {path for _, path in found} == set(local), sorted(found)
    assert set(local.values()) == set(binaries()) - INVOKED
    for method, path in found:
        uri = found[method, path]["x-amazon-apigateway-integration"]["uri"]
        assert f"<{camel(local[path])}FunctionAliaslive>" in uri, (method, path, uri)
        assert method != "GET" or ("HEAD", path) in found, path
        asked = found[method, path]["security"]
        if (method, path) in PUBLIC:
            assert asked == [{"NONE": []}], (method, path)
        elif method == "POST":
            assert asked == [{"Jwt": ["payments:write"]}], (method, path, asked)
        else:
            assert asked == [{"Jwt": []}], (method, path, asked)
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
        # Text, as a parameter is, would stay text here.
        assert all(isinstance(limits[name], int) for name in ("ThrottlingRateLimit", "ThrottlingBurstLimit")), limits
    assert stage["DefaultRouteSettings"] == {"ThrottlingRateLimit": "7", "ThrottlingBurstLimit": "7"}


@check(
    lambda t: t.resource("HttpApi").update(CorsConfiguration={"AllowOrigins": ["*"]}),
    # SAM loses the rest of what has a function inside.
    lambda t: t.resource("HttpApi").update(CorsConfiguration={"AllowOrigins": {"Fn::Split": [",", {"Ref": "CorsAllowOrigins"}]}, "AllowHeaders": ["idempotency-key"]}),
    lambda t: t.resource("HttpApi")["CorsConfiguration"]["Fn::If"][1].pop("allowHeaders"),
)
def pages_may_call_it_only_where_their_origins_are_named(templates):
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
def every_deploy_publishes_versions_to_which_callers_are_moved_step_by_step(templates):
    build = templates.main["Parameters"]["BuildId"]
    # SAM takes ten characters of it into a name.
    assert "Default" not in build and build["AllowedPattern"] == "[a-z0-9]{10}"

    def versions(build_id):
        stack = templates.stack(**{**REQUIRED, "BuildId": build_id})
        return stack, set(stack.of_type("AWS::Lambda::Version"))

    stack, one = versions("1764112500")
    other, two = versions("1764112501")
    assert len(one) == len(binaries()) and not one & two, one & two
    for name in binaries():
        # Lambda publishes nothing that is like the version before.
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
    # An alarm that is on would keep away what repairs it.
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
def open_payments_are_looked_after_each_minute_and_what_fails_is_kept(templates):
    stack = templates.stack(**REQUIRED)
    (schedule,) = stack.of_type("AWS::Scheduler::Schedule").values()
    assert schedule["ScheduleExpression"] == "rate(1 minute)"
    assert schedule["Name"].startswith("tb-test-"), "two stacks of an account would fight for the name"
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
def two_stacks_of_one_account_do_not_fight_for_a_name(templates):
    """Names that are ours to choose carry the stack's name. Those of the cache are parameters."""
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
def nobody_deploys_without_saying_who_signs_tokens(templates):
    issuer = templates.main["Parameters"]["JwtIssuer"]
    assert "Default" not in issuer and not re.fullmatch(issuer["AllowedPattern"], "http://id.example")
    assert "Default" not in templates.main["Parameters"]["JwtAudience"]


@check(
    spoil("HealthFunction", "Role", to={"Fn::GetAtt": "HealthyRole.Arn"}),
    lambda t: t.main["Resources"]["AlarmEmailSubscription"].update(Condition="CreatesCache"),
    spoil("PaymentsCreateFunction", "Environment", "Variables", "REDIS_URL", to={"Fn::GetAtt": "Valkey.Endpoint.Address"}),
)
def every_deployment_names_only_what_it_creates(templates):
    for parameters in DEPLOYMENTS.values():
        templates.stack(**parameters).nested()
    assert "AlarmEmailSubscription" in templates.stack(**BROUGHT, AlarmEmail="a@b.example").exists
    assert "AlarmEmailSubscription" not in templates.stack(**CREATED).exists
