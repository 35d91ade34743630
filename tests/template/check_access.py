"""Checks of access: roles, security groups, the users of the cache, keys."""

import re

from checks import BROUGHT, BROUGHT_WITH_IAM, CREATED, DEPLOYMENTS, DEVELOPMENT, REQUIRED, add, check, remove, spoil
from cloudformation import Broken, Stack, binaries, camel

# The rights that several roles share.
LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}
TRACES = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}
INTERFACES = {
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
}
# The actions that may have the resource `*`. X-Ray's actions accept no narrower resource, and Lambda requires `*` for
# network interfaces. A second statement denies the code of the function the rights on network interfaces, so that only
# Lambda can use these rights.
WITHOUT_A_RESOURCE = TRACES | INTERFACES

CACHE = "arn:aws:elasticache:eu-west-1:123456789012"
REDIS, REDIS_IDEMPOTENCY, REDIS_HEALTH = "RedisUrlSecretArn", "RedisIdempotencyUrlSecretArn", "RedisHealthUrlSecretArn"
MONGODB, MONGODB_READ, MONGODB_IDEMPOTENCY, MONGODB_PING = (
    "MongodbUriSecretArn",
    "MongodbReadUriSecretArn",
    "MongodbIdempotencyUriSecretArn",
    "MongodbPingUriSecretArn",
)
STRIPE, WEBHOOK = "StripeApiKeySecretArn", "StripeWebhookSecretsSecretArn"
DETAILS = "HealthDetailsTokenSecretArn"
# The secrets that each function reads. A function that is not listed reads none.
READS = {
    "health-redis": {REDIS_HEALTH, DETAILS},
    "health-detailed": {REDIS_HEALTH, MONGODB_PING, DETAILS},
    "payments-create": {REDIS, MONGODB, STRIPE},
    "payments-get": {MONGODB_READ},
    "payments-webhook": {REDIS, MONGODB, STRIPE, WEBHOOK},
    "payments-reconcile": {REDIS, MONGODB, STRIPE},
    "idempotency": {REDIS_IDEMPOTENCY, MONGODB_IDEMPOTENCY},
}
# The functions that sign saved responses, with a key that the template creates.
SIGNS = {"payments-create", "payments-webhook", "payments-reconcile"}
MAC_KEYS = "<PaymentMacKeys>"
CACHE_USER = {
    "health-redis": "truebond-health",
    "health-detailed": "truebond-health",
    "payments-create": "truebond-payments",
    "payments-webhook": "truebond-payments",
    "payments-reconcile": "truebond-payments",
    "idempotency": "truebond-idempotency",
}
VARIABLES = {
    **dict.fromkeys((REDIS, REDIS_IDEMPOTENCY, REDIS_HEALTH), "REDIS_URL_SECRET_ARN"),
    **dict.fromkeys((MONGODB, MONGODB_READ, MONGODB_IDEMPOTENCY, MONGODB_PING), "MONGODB_URI_SECRET_ARN"),
    STRIPE: "STRIPE_API_KEY_SECRET_ARN",
    WEBHOOK: "STRIPE_WEBHOOK_SECRETS_SECRET_ARN",
    DETAILS: "HEALTH_DETAILS_TOKEN_SECRET_ARN",
}
OUTSIDE_THE_NETWORK = {
    "health": "it opens no connection",
}


def listed(value):
    return value if isinstance(value, list) else [value]


def statements(stack, role):
    """All statements of a role, including those of its managed policies."""
    properties = stack.resources[role]["Properties"]
    documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
    for policy in properties.get("ManagedPolicyArns", []):
        documents.append(stack.resources[policy.strip("<>")]["Properties"]["PolicyDocument"])
    return [statement for document in documents for statement in document["Statement"]]


def allowed(stack, role):
    """The rights of a role, as pairs of action and resource."""
    return {
        (action, resource)
        for statement in statements(stack, role)
        if statement["Effect"] == "Allow"
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }


def environment(stack, name):
    return stack.resources[f"{camel(name)}Function"]["Properties"]["Environment"]["Variables"]


def expected(name, parameters):
    """The rights that the function needs in this deployment."""
    rights = {(action, f"<{camel(name)}LogGroup.Arn>") for action in LOGS} | {(action, "*") for action in TRACES}
    if name not in OUTSIDE_THE_NETWORK:
        rights |= {(action, "*") for action in INTERFACES}
    reads = {secret for secret in READS.get(name, set()) if parameters.get(secret)}
    rights |= {("secretsmanager:GetSecretValue", parameters[secret]) for secret in reads}
    if reads and "SecretsKeyArn" in parameters:
        rights.add(("kms:Decrypt", parameters["SecretsKeyArn"]))
    if name in SIGNS:
        rights.add(("secretsmanager:GetSecretValue", MAC_KEYS))
    if name in CACHE_USER and ("Cache" in parameters or parameters.get("RedisAuth") == "iam"):
        cache = f"serverlesscache:{parameters.get('RedisCacheName', 'truebond')}" if "Cache" in parameters else "replicationgroup:shared"
        rights |= {("elasticache:Connect", f"{CACHE}:{cache}"), ("elasticache:Connect", f"{CACHE}:user:{CACHE_USER[name]}")}
    if name == "payments-reconcile":
        rights.add(("sqs:SendMessage", "<ReconcileDeadLetterQueue.Arn>"))
    return rights


@check(
    lambda t: t.resource("PaymentsGetRole")["ManagedPolicyArns"].append({"Ref": "WebhookSecretPolicy"}),
    lambda t: t.resource("HealthRole")["ManagedPolicyArns"].append({"Ref": "NetworkPolicy"}),
    lambda t: t.resource("PaymentsCreateRole")["ManagedPolicyArns"].pop(),
    lambda t: t.resource("MongodbSecretPolicy")["PolicyDocument"]["Statement"][0].update(Resource="*"),
    lambda t: t.resource("MongodbSecretPolicy")["PolicyDocument"]["Statement"][0].update(Action="secretsmanager:*"),
    lambda t: t.resource("HealthCachePolicy")["PolicyDocument"]["Statement"][0]["Resource"].pop(),
    lambda t: t.resource("HealthRedisRole")["ManagedPolicyArns"].append({"Ref": "PaymentsCachePolicy"}),
    lambda t: t.resource("IdempotencyRole")["ManagedPolicyArns"].append({"Ref": "PaymentsCachePolicy"}),
    lambda t: t.resource("IdempotencyRole")["ManagedPolicyArns"].append({"Ref": "MacKeysPolicy"}),
    lambda t: t.resource("PaymentsGetRole")["ManagedPolicyArns"].append({"Ref": "MongodbSecretPolicy"}),
    lambda t: t.resource("HealthDetailedRole")["ManagedPolicyArns"].append({"Ref": "MongodbReadSecretPolicy"}),
    lambda t: t.resource("IdempotencyRole")["ManagedPolicyArns"].append({"Ref": "RedisSecretPolicy"}),
    lambda t: t.resource("PaymentsCreateRole")["ManagedPolicyArns"].remove({"Ref": "MacKeysPolicy"}),
    spoil("RedisIdempotencySecretPolicy", "PolicyDocument", "Statement", 0, "Resource", to={"Ref": "RedisUrlSecretArn"}),
    spoil("HealthRole", "Policies", 0, "PolicyDocument", "Statement", 0, "Resource", to={"Fn::GetAtt": "PaymentsGetLogGroup.Arn"}),
    lambda t: t.resource("HealthFunction").update(Role={"Fn::GetAtt": "PaymentsCreateRole.Arn"}),
)
def a_function_has_exactly_the_rights_that_it_needs(templates):
    for parameters in DEPLOYMENTS.values():
        stack = templates.stack(**parameters)
        for name in binaries():
            assert stack.resources[f"{camel(name)}Function"]["Properties"]["Role"] == f"<{camel(name)}Role.Arn>", name
            found = allowed(stack, f"{camel(name)}Role")
            assert found == expected(name, parameters), (name, found ^ expected(name, parameters))


@check(
    lambda t: t.resource("NetworkPolicy")["PolicyDocument"]["Statement"].pop(),
    spoil("NetworkPolicy", "PolicyDocument", "Statement", 1, "Condition"),
    spoil("SecretsKeyPolicy", "PolicyDocument", "Statement", 0, "Condition"),
)
def broad_rights_are_limited_by_conditions(templates):
    stack = templates.stack(**BROUGHT)
    for name in READS:
        denied = [each for each in statements(stack, f"{camel(name)}Role") if each["Effect"] == "Deny"]
        (denied,) = denied
        confined = denied["Condition"]["ArnLike"]["lambda:SourceFunctionArn"]
        assert (denied["Action"], denied["Resource"]) == ("ec2:*", "*"), denied
        assert confined == "arn:aws:lambda:eu-west-1:123456789012:function:tb-test-*"
        (decrypts,) = [each for each in statements(stack, f"{camel(name)}Role") if each["Action"] == "kms:Decrypt"]
        assert decrypts["Condition"] == {"StringEquals": {"kms:ViaService": "secretsmanager.eu-west-1.amazonaws.com"}}


@check(
    lambda t: t.resource("TracePolicy")["PolicyDocument"]["Statement"].append({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}),
    lambda t: t.resource("HealthRole")["ManagedPolicyArns"].append("arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"),
    add("Open", "AWS::IAM::Role", AssumeRolePolicyDocument={"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}),
    spoil("PaymentsGetFunction", "Role"),
)
def no_role_has_wildcard_rights(templates):
    """No action is a wildcard, and only the listed actions have the resource `*`. Only AWS services may assume a role."""
    for parameters in DEPLOYMENTS.values():
        stack = templates.stack(**parameters)
        for name, role in stack.of_type("AWS::IAM::Role").items():
            for statement in role["AssumeRolePolicyDocument"]["Statement"]:
                assert set(statement["Principal"]) == {"Service"}, name
            if name == "CodeDeployServiceRole":
                # SAM creates this role, which moves the aliases.
                assert role["ManagedPolicyArns"] == ["arn:aws:iam::aws:policy/service-role/AWSCodeDeployRoleForLambda"]
                continue
            for policy in role.get("ManagedPolicyArns", []):
                assert policy.startswith("<"), (name, policy, "AWS's managed policies have wildcards")
            for action, resource in allowed(stack, name):
                assert "*" not in action, (name, action)
                assert resource != "*" or action in WITHOUT_A_RESOURCE, (name, action)


@check(
    spoil("PaymentsReconcileFunction", "Environment", "Variables", "STRIPE_API_KEY_SECRET_ARN"),
    spoil("HealthRedisFunction", "Environment", "Variables", "MONGODB_URI_SECRET_ARN", to={"Ref": "MongodbUriSecretArn"}),
    spoil("PaymentsGetFunction", "Environment", "Variables", "MONGODB_URI_SECRET_ARN", to={"Ref": "MongodbUriSecretArn"}),
    spoil("IdempotencyFunction", "Environment", "Variables", "MONGODB_URI_SECRET_ARN", to={"Ref": "MongodbReadUriSecretArn"}),
    spoil("IdempotencyFunction", "Environment", "Variables", "REDIS_URL_SECRET_ARN", to={"Ref": "RedisUrlSecretArn"}),
    spoil("HealthDetailedFunction", "Environment", "Variables", "REDIS_URL_SECRET_ARN", to={"Ref": "RedisUrlSecretArn"}),
    spoil("IdempotencyFunction", "Environment", "Variables", "PAYMENT_MAC_KEYS_SECRET_ARN", to={"Ref": "PaymentMacKeys"}),
    spoil("PaymentsWebhookFunction", "Environment", "Variables", "PAYMENT_MAC_KEYS_SECRET_ARN"),
    spoil("HealthRedisFunction", "Environment", "Variables", "MONGODB_URI", to={"Ref": "MongodbUri"}),
    spoil("PaymentsGetFunction", "Environment", "Variables", "STRIPE_WEBHOOK_SECRETS", to={"Ref": "StripeWebhookSecrets"}),
)
def a_function_gets_only_the_secrets_that_it_needs(templates):
    for parameters in (CREATED, BROUGHT, BROUGHT_WITH_IAM):
        stack = templates.stack(**parameters)
        for name in binaries():
            given = {variable: value for variable, value in environment(stack, name).items() if variable.endswith("_SECRET_ARN") and value}
            reads = {VARIABLES[secret]: parameters[secret] for secret in READS.get(name, set()) if secret in parameters}
            if name in SIGNS:
                reads["PAYMENT_MAC_KEYS_SECRET_ARN"] = MAC_KEYS
            assert given == reads, (name, given)
    stack = templates.stack(**DEVELOPMENT)
    for name in binaries():
        variables = environment(stack, name)
        reads = READS.get(name, set())
        reads_mongodb = any(VARIABLES[secret] == "MONGODB_URI_SECRET_ARN" for secret in reads)
        assert ("user:password" in variables.get("MONGODB_URI", "")) == reads_mongodb, name
        assert bool(variables.get("STRIPE_API_KEY")) == (STRIPE in reads), name
        assert bool(variables.get("STRIPE_WEBHOOK_SECRETS")) == (WEBHOOK in reads), name


@check(
    spoil("IdempotencyFunction", "Environment", "Variables", "MONGODB_URI_SECRET_ARN", to={"Ref": "MongodbIdempotencyUriSecretArn"}),
    spoil("HealthRedisFunction", "Environment", "Variables", "REDIS_URL_SECRET_ARN", to={"Ref": "RedisHealthUrlSecretArn"}),
    spoil("MongodbPingSecretPolicy", "PolicyDocument", "Statement", 0, "Resource", to={"Ref": "MongodbPingUriSecretArn"}),
)
def in_development_all_functions_may_share_one_login(templates):
    parameters = {**REQUIRED, "Environment": "development", **{name: BROUGHT[name] for name in (REDIS, MONGODB, "RedisCidr", "MongodbCidr")}}
    stack = templates.stack(**parameters)
    assert stack.refusals() == []
    for name, secrets in READS.items():
        variables = {VARIABLES[secret] for secret in secrets} & {"REDIS_URL_SECRET_ARN", "MONGODB_URI_SECRET_ARN"}
        shared = {"REDIS_URL_SECRET_ARN": BROUGHT[REDIS], "MONGODB_URI_SECRET_ARN": BROUGHT[MONGODB]}
        for variable in variables:
            assert environment(stack, name)[variable] == shared[variable], (name, variable)
        read = {resource for action, resource in allowed(stack, f"{camel(name)}Role") if action == "secretsmanager:GetSecretValue"}
        assert read - {MAC_KEYS} == {shared[variable] for variable in variables}, (name, read)


def egress(stack):
    """The destinations that the functions may connect to: (first port, last port, destination)."""
    found = set()
    rules = list(stack.resources["FunctionSecurityGroup"]["Properties"]["SecurityGroupEgress"])
    rules += [rule for rule in stack.of_type("AWS::EC2::SecurityGroupEgress").values() if rule["GroupId"] == "<FunctionSecurityGroup>"]
    for rule in rules:
        assert rule["IpProtocol"] == "tcp", rule
        found.add((int(rule["FromPort"]), int(rule["ToPort"]), rule.get("CidrIp") or rule["DestinationSecurityGroupId"]))
    return found


@check(
    spoil("PaymentsCreateFunction", "VpcConfig", to={"Ref": "AWS::NoValue"}),
    spoil("PaymentsCreateFunction", "VpcConfig", to={"SecurityGroupIds": ["sg-default"]}),
    spoil("HealthFunction", "VpcConfig"),
    spoil("HealthFunction", "VpcConfig", to={"SubnetIds": ["subnet-a"], "SecurityGroupIds": ["sg-default"]}),
    lambda t: t.main["Globals"]["Function"].pop("VpcConfig"),
    lambda t: t.main["Globals"]["Function"]["VpcConfig"].update(SecurityGroupIds=["sg-default"]),
    spoil("FunctionSecurityGroup", "SecurityGroupEgress"),
    lambda t: t.resource("FunctionSecurityGroup")["SecurityGroupEgress"].append({"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}),
    spoil("FunctionSecurityGroup", "SecurityGroupIngress", to=[{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "10.0.0.0/8"}]),
    remove("FunctionsToCache"),
    spoil("FunctionsToMongodb", "FromPort", to=0),
    lambda t: t.main["Resources"]["FunctionsToRedis"].pop("Condition"),
)
def functions_can_connect_only_to_their_backends(templates):
    web = (443, 443, "0.0.0.0/0")
    for parameters, beyond in (
        (REQUIRED, set()),
        (CREATED, {(6379, 6380, "<CacheSecurityGroup>"), (1024, 65535, "<MongodbEndpointSecurityGroup>")}),
        (BROUGHT, {(6379, 6379, "10.20.0.0/16"), (27015, 27017, "0.0.0.0/0")}),
        (BROUGHT_WITH_IAM, {(6379, 6379, "10.20.0.0/16"), (27015, 27017, "0.0.0.0/0")}),
    ):
        stack = templates.stack(**parameters)
        assert egress(stack) == {web} | beyond, egress(stack)
        assert "SecurityGroupIngress" not in stack.resources["FunctionSecurityGroup"]["Properties"]
        for name in binaries():
            network = stack.resources[f"{camel(name)}Function"]["Properties"].get("VpcConfig")
            if name in OUTSIDE_THE_NETWORK:
                assert network is None, name
            else:
                assert network == {"SubnetIds": ["subnet-a", "subnet-b"], "SecurityGroupIds": ["<FunctionSecurityGroup>"]}, name


@check(
    spoil("FunctionsToCache", "Description", to="The cache; 6380 is its readers'"),
    spoil("FunctionSecurityGroup", "GroupDescription", to="The functions, à la carte"),
    lambda t: t.resource("FunctionSecurityGroup")["SecurityGroupEgress"][0].update(Description="Stripe > AWS"),
    lambda t: t.files["deploy/network.yaml"]["Resources"]["EndpointSecurityGroup"]["Properties"].update(GroupDescription="x" * 256),
)
def descriptions_of_security_groups_have_only_characters_that_ec2_accepts(templates):
    """EC2 rejects some characters, for example an apostrophe. It does so only when the stack creates the group."""
    accepted = re.compile(r"[a-zA-Z0-9 ._:/()#,@\[\]+=&;{}!$*-]{1,255}")
    for path in ("template.yaml", "deploy/network.yaml"):
        for name, resource in templates.files[path]["Resources"].items():
            if resource["Type"].startswith("AWS::EC2::SecurityGroup"):
                group = resource["Properties"]
                rules = [group, *group.get("SecurityGroupIngress", []), *group.get("SecurityGroupEgress", [])]
                for text in [rule[key] for rule in rules for key in ("Description", "GroupDescription") if key in rule]:
                    assert accepted.fullmatch(text), (name, text)


@check(
    spoil("CacheSecurityGroup", "SecurityGroupIngress", 0, to={"IpProtocol": "tcp", "FromPort": 6379, "ToPort": 6380, "CidrIp": "10.0.0.0/8"}),
    spoil("CacheSecurityGroup", "SecurityGroupEgress"),
    add("ToCache", "AWS::EC2::SecurityGroupIngress", GroupId="sg-1", IpProtocol="tcp", FromPort=6379, ToPort=6379, CidrIp="0.0.0.0/0"),
    spoil("MongodbEndpointSecurityGroup", "SecurityGroupIngress", 0, "SourceSecurityGroupId", to="sg-1"),
    spoil("Valkey", "SecurityGroupIds"),
    spoil("Valkey", "SubnetIds", to=["subnet-public"]),
    spoil("MongodbEndpoint", "SecurityGroupIds", to=["sg-default"]),
)
def only_functions_can_connect_to_the_cache_and_to_the_endpoint_of_mongodb(templates):
    stack = templates.stack(**CREATED)
    for name in ("CacheSecurityGroup", "MongodbEndpointSecurityGroup"):
        group = stack.resources[name]["Properties"]
        assert {rule["SourceSecurityGroupId"] for rule in group["SecurityGroupIngress"]} == {"<FunctionSecurityGroup>"}, name
        assert all("CidrIp" not in rule for rule in group["SecurityGroupIngress"]), name
        assert [rule["CidrIp"] for rule in group["SecurityGroupEgress"]] == ["127.0.0.1/32"], name
    assert not stack.of_type("AWS::EC2::SecurityGroupIngress"), "ingress rules belong in the groups"
    cache = stack.resources["Valkey"]["Properties"]
    assert cache["SecurityGroupIds"] == ["<CacheSecurityGroup>"]
    assert cache["SubnetIds"] == ["subnet-a", "subnet-b"]
    assert stack.resources["MongodbEndpoint"]["Properties"]["SecurityGroupIds"] == ["<MongodbEndpointSecurityGroup>"]


@check(
    lambda t: t.files["deploy/network.yaml"]["Resources"]["PrivateSubnetA"]["Properties"].update(MapPublicIpOnLaunch=True),
    lambda t: t.files["deploy/network.yaml"]["Resources"]["PrivateRouteA"]["Properties"].update(GatewayId={"Ref": "InternetGateway"}, NatGatewayId={"Ref": "AWS::NoValue"}),
    lambda t: t.files["deploy/network.yaml"]["Resources"]["PrivateSubnetARoutes"]["Properties"].update(RouteTableId={"Ref": "PublicRoutes"}),
    lambda t: t.files["deploy/network.yaml"]["Outputs"].update(PrivateSubnetIds={"Value": {"Fn::Sub": "${PublicSubnetA},${PrivateSubnetB}"}}),
    lambda t: t.files["deploy/network.yaml"]["Resources"]["EndpointSecurityGroup"]["Properties"]["SecurityGroupIngress"][0].update(CidrIp="0.0.0.0/0"),
)
def the_only_outbound_route_of_private_subnets_is_nat(templates):
    for parameters in ({}, {"NatGateways": 2, "SecretsManagerEndpoint": "true"}):
        stack = Stack(templates, "deploy/network.yaml", parameters)
        output = templates.files["deploy/network.yaml"]["Outputs"]["PrivateSubnetIds"]["Value"]
        subnets = stack.value(output).split(",")
        assert subnets == ["<PrivateSubnetA>", "<PrivateSubnetB>"]
        tables = {each["SubnetId"]: each["RouteTableId"] for each in stack.of_type("AWS::EC2::SubnetRouteTableAssociation").values()}
        for subnet in subnets:
            assert not stack.resources[subnet.strip("<>")]["Properties"].get("MapPublicIpOnLaunch"), subnet
            out = [each for each in stack.of_type("AWS::EC2::Route").values() if each["RouteTableId"] == tables[subnet]]
            assert len(out) == 1 and "NatGatewayId" in out[0] and "GatewayId" not in out[0], (subnet, out)
        for group in stack.of_type("AWS::EC2::SecurityGroup").values():
            assert {rule["CidrIp"] for rule in group["SecurityGroupIngress"]} == {"10.20.0.0/16"}


@check(
    spoil("Valkey", "KmsKeyId"),
    spoil("Valkey", "FinalSnapshotName"),
    spoil("Valkey", "CacheUsageLimits", "DataStorage"),
    spoil("Valkey", "UserGroupId"),
    lambda t: t.main["Resources"]["Valkey"].pop("DeletionPolicy"),
    lambda t: t.main["Resources"]["Valkey"].update(Condition="LogsInByIam"),
    add("Other", "AWS::ElastiCache::ReplicationGroup", ReplicationGroupDescription="x", TransitEncryptionEnabled=False),
    spoil("CachePaymentsUser", "AuthenticationMode", to={"Type": "password"}),
    spoil("CachePaymentsUser", "AccessString", to="on ~* -@all +get"),
    spoil("CachePaymentsUser", "AccessString", to="on ~idempotency:http:* +@all"),
    spoil("CachePaymentsUser", "AccessString", to="on ~idempotency:* -@all -@dangerous +get"),
    spoil("CacheIdempotencyUser", "AccessString", to="on ~idempotency:fn:* -@all -@dangerous +get"),
    spoil("CacheIdempotencyUser", "AccessString", to="on ~idempotency:fn:default:* ~idempotency:http:* -@all -@dangerous +get"),
    spoil("CacheIdempotencyUser", "AuthenticationMode", to={"Type": "password"}),
    spoil("CacheUsers", "UserIds", to=[{"Ref": "CacheDefaultUser"}, {"Ref": "CachePaymentsUser"}, {"Ref": "CacheHealthUser"}]),
    spoil("CacheHealthUser", "AccessString", to="on ~health:* ~idempotency:* -@all +get"),
    spoil("CacheHealthUser", "UserName", to="health"),
    spoil("CacheDefaultUser", "AccessString", to="on ~* +@all"),
)
def a_created_cache_is_encrypted_and_limited_and_has_a_user_per_domain(templates):
    stack = templates.stack(**CREATED)
    caches = {name for name, resource in stack.resources.items() if resource["Type"].startswith("AWS::ElastiCache::") and not resource["Type"].endswith(("User", "UserGroup"))}
    assert caches == {"Valkey"}, "only a serverless cache always has TLS"
    for parameters in (BROUGHT, BROUGHT_WITH_IAM, DEVELOPMENT):
        assert not any(each["Type"].startswith("AWS::ElastiCache::") for each in templates.stack(**parameters).resources.values())
    resource = stack.resources["Valkey"]
    cache = resource["Properties"]
    assert resource["DeletionPolicy"] == "Delete" and cache["FinalSnapshotName"] == "truebond-final"
    assert cache["KmsKeyId"] == "<Key.Arn>" and cache["Engine"] == "valkey"
    assert cache["CacheUsageLimits"]["DataStorage"] == {"Maximum": "5", "Unit": "GB"}
    assert cache["CacheUsageLimits"]["ECPUPerSecond"] == {"Maximum": "10000"}
    assert cache["UserGroupId"] == "<CacheUsers>"
    users = {user["UserName"]: user for user in stack.of_type("AWS::ElastiCache::User").values()}
    assert set(users) == {"default", "truebond-payments", "truebond-idempotency", "truebond-health"}
    members = stack.resources["CacheUsers"]["Properties"]["UserIds"]
    assert set(members) == {f"<{name}>" for name in stack.resources if name.startswith("Cache") and name.endswith("User")}, members
    for name, keys in (("truebond-payments", "~idempotency:http:*"), ("truebond-idempotency", "~idempotency:fn:default:*"), ("truebond-health", "~health:*")):
        rules = users[name]["AccessString"].split()
        assert users[name]["AuthenticationMode"] == {"Type": "iam"} and users[name]["UserId"] == name
        assert [rule for rule in rules if rule.startswith(("~", "%", "all"))] == [keys], rules
        assert "on" in rules and "-@all" in rules and "-@dangerous" in rules and "+@all" not in rules, rules
    assert users["default"]["AccessString"].split() == ["off", "-@all"]


@check(
    spoil("PaymentsCreateFunction", "Environment", "Variables", "REDIS_URL", to={"Fn::Sub": "redis://${Valkey.Endpoint.Address}:6379"}),
    spoil("PaymentsCreateFunction", "Environment", "Variables", "REDIS_PLAINTEXT", to="allowed"),
    spoil("PaymentsCreateFunction", "Environment", "Variables", "REDIS_CLUSTER", to="false"),
    spoil("PaymentsCreateFunction", "Environment", "Variables", "REDIS_AUTH"),
    spoil("HealthRedisFunction", "Environment", "Variables", "REDIS_USER", to={"Fn::If": ["LogsInByIam", {"Ref": "RedisUser"}, ""]}),
    spoil("IdempotencyFunction", "Environment", "Variables", "REDIS_CACHE_TYPE", to="serverless"),
    spoil("IdempotencyFunction", "Environment", "Variables", "REDIS_USER", to={"Fn::If": ["LogsInByIam", {"Ref": "RedisUser"}, ""]}),
    spoil("PaymentsReconcileFunction", "Environment", "Variables", "REDIS_USER", to={"Fn::If": ["LogsInByIam", {"Ref": "RedisIdempotencyUser"}, ""]}),
)
def functions_log_in_to_the_cache_with_tls_and_their_domains_user(templates):
    for parameters, url, cluster, name, kind in (
        (CREATED, "rediss://<Valkey.Endpoint.Address>:<Valkey.Endpoint.Port>", "true", "truebond", "serverless"),
        (BROUGHT_WITH_IAM, "rediss://cache.example:6379", "false", "shared", "replication_group"),
    ):
        stack = templates.stack(**parameters)
        for function, user in CACHE_USER.items():
            variables = environment(stack, function)
            found = {key: value for key, value in variables.items() if key.startswith("REDIS_") and not key.endswith(("_MS", "_ARN"))}
            assert found == {
                "REDIS_URL": url,
                "REDIS_PLAINTEXT": "",
                "REDIS_CLUSTER": cluster,
                "REDIS_AUTH": "iam",
                "REDIS_USER": user,
                "REDIS_CACHE_NAME": name,
                "REDIS_CACHE_TYPE": kind,
            }, (function, found)
    for function in CACHE_USER:
        variables = environment(templates.stack(**BROUGHT), function)
        assert not any(variables[name] for name in ("REDIS_AUTH", "REDIS_USER", "REDIS_CACHE_NAME", "REDIS_CACHE_TYPE", "REDIS_URL"))


@check(
    lambda t: t.main["Parameters"]["IdempotencyNamespace"].update(AllowedPattern=".+"),
)
def a_namespace_cannot_be_a_pattern(templates):
    """The access string of the user of the function `idempotency` contains the namespace. A pattern in the namespace would allow other keys."""
    for wrong in ("*", "a*", "a?", "[a]", "a b", "a:b", "a\\\\", ""):
        try:
            templates.stack(**{**CREATED, "IdempotencyNamespace": wrong})
        except Broken:
            continue
        raise AssertionError(f"IdempotencyNamespace accepts `{wrong}`")


@check(
    spoil("Key", "EnableKeyRotation"),
    lambda t: t.main["Resources"]["Key"].update(DeletionPolicy="Delete"),
    lambda t: t.resource("Key")["KeyPolicy"]["Statement"][1].pop("Condition"),
    lambda t: t.resource("Key")["KeyPolicy"]["Statement"].append({"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}),
    spoil("AlarmTopic", "KmsMasterKeyId"),
)
def the_key_is_rotated_and_retained_and_only_two_services_use_it(templates):
    stack = templates.stack(**CREATED)
    assert stack.resources["Key"]["DeletionPolicy"] == "RetainExceptOnCreate"
    key = stack.resources["Key"]["Properties"]
    assert key["EnableKeyRotation"] is True
    account, *services = key["KeyPolicy"]["Statement"]
    assert account["Principal"] == {"AWS": "arn:aws:iam::123456789012:root"}
    assert [each["Principal"] for each in services] == [{"Service": "logs.eu-west-1.amazonaws.com"}, {"Service": "cloudwatch.amazonaws.com"}]
    assert all(each.get("Condition") for each in services)
    assert stack.resources["AlarmTopic"]["Properties"]["KmsMasterKeyId"] == "<Key>"


@check(
    lambda t: t.main["Resources"]["AccessLogGroup"].pop("DeletionPolicy"),
    lambda t: t.main["Resources"]["ReconcileDeadLetterQueue"].pop("UpdateReplacePolicy"),
    lambda t: t.main["Resources"]["PaymentsGetLogGroup"].update(UpdateReplacePolicy="Delete"),
    add("Table", "AWS::DynamoDB::Table", TableName="tb-test"),
)
def every_resource_with_data_declares_whether_it_is_retained(templates):
    """Logs of payments and the key for these logs are retained. Data that also exists in another place is deleted with the stack."""
    deleted = {"HealthLogGroup", "HealthRedisLogGroup", "HealthDetailedLogGroup", "ReconcileDeadLetterQueue", "Valkey", "CacheDefaultPassword", "PaymentMacKeys"}
    holds = ("LogGroup", "::Key", "::ServerlessCache", "::Secret", "::Queue", "::Table", "::Bucket", "::Volume", "::DBInstance")
    for name, resource in templates.stack(**CREATED).resources.items():
        if resource["Type"].endswith(holds):
            expected = ("Delete", "Delete") if name in deleted else ("RetainExceptOnCreate", "Retain")
            assert (resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy")) == expected, name
