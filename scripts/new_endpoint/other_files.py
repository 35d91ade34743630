"""The parts of a new endpoint in template.yaml, in the dashboard and in openapi.json."""

# The route requires a token. The function has only the rights to write logs and traces; the developer adds the rights that it
# needs.
BLOCK = """\
  {camel}Function:
    Type: AWS::Serverless::Function
    Metadata: {{ BuildMethod: rust-cargolambda, BuildProperties: {{ Binary: {name} }} }}
    Properties:
      FunctionName: !Sub ${{AWS::StackName}}-{name}
      Description: Answers {route}
      Role: !GetAtt {camel}Role.Arn
      AutoPublishCodeSha256: !Ref BuildId
      LoggingConfig: {{ LogGroup: !Ref {camel}LogGroup }}
      # This function opens no connection, so it is outside the private network.
      VpcConfig: !Ref AWS::NoValue
      DeploymentPreference: {{ Alarms: !If [HeedsAlarms, [!GetAtt {camel}Alarms.Outputs.NewVersionErrors], []] }}
      Events:
{events}
  {camel}Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: *assumed-by-lambda
      ManagedPolicyArns: [*trace]
      Policies:
        - {{ PolicyName: own, PolicyDocument: {{ Version: "2012-10-17", Statement: [{{ <<: *writes-logs, Resource: !GetAtt {camel}LogGroup.Arn }}] }} }}
  {camel}LogGroup:
    Type: AWS::Logs::LogGroup
    <<: *kept-after-the-stack
    Properties: {{ <<: *log-group, LogGroupName: !Sub "/aws/lambda/${{AWS::StackName}}-{name}" }}
  {camel}Alarms:
    Type: AWS::CloudFormation::Stack
    Properties:
      TemplateURL: deploy/function-alarms.yaml
      Parameters: {{ FunctionName: !Sub "${{AWS::StackName}}-{name}", Version: !GetAtt {camel}Function.Version.Version, TimeoutSeconds: *timeout, Topic: !Ref AlarmTopic }}

"""
# The YAML anchors of template.yaml that the block uses.
ANCHORS = ("assumed-by-lambda", "trace", "writes-logs", "kept-after-the-stack", "log-group", "timeout")
READING = ("route-with-token", "*read-limit")
WRITING = ("route-with-write-scope", "{ ThrottlingRateLimit: 50, ThrottlingBurstLimit: 100 }")

WIDGETS = {"Function errors": "Errors", "Function throttles": "Throttles", "Function duration p99 (ms)": "Duration"}


def block(endpoint):
    """Returns the block of template.yaml with the function, role, log group and alarms."""
    auth, limit = READING if endpoint.method == "GET" else WRITING
    path = f'"{endpoint.path}"' if endpoint.parameters else endpoint.path
    events = "\n".join(
        f"        {method.capitalize()}: {{ Type: HttpApi, Properties: {{ <<: *{auth}, Method: {method}, Path: {path}, RouteSettings: {limit} }} }}" for method in endpoint.methods
    )
    return BLOCK.format(camel=endpoint.camel, name=endpoint.name, route=endpoint.route, events=events)


def anchors(endpoint):
    auth, limit = READING if endpoint.method == "GET" else WRITING
    return (*ANCHORS, auth, *([limit.strip("*")] if limit.startswith("*") else []))


def rows(endpoint):
    """Yields the rows of the dashboard, each with the title of its widget."""
    yield "5xx by route", f'["${{ServiceName}}","ServerErrors","environment","${{Environment}}","route","{endpoint.route}"]'
    for title, metric in WIDGETS.items():
        yield title, f'["AWS/Lambda","{metric}","FunctionName","${{Backend}}-{endpoint.name}"]'


def operations(endpoint):
    """Returns the entry of the path in openapi.json."""
    item = {}
    if endpoint.parameters:
        schema = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
        item["parameters"] = [
            {"name": name, "in": "path", "required": True, "description": f"The part of the path in place of `{{{name}}}`.", "schema": schema, "example": f"{name}-1"}
            for name in endpoint.parameters
        ]
    members = {"function": {"const": endpoint.name}, **{name: {"type": "string"} for name in endpoint.parameters}}
    answer = {"type": "object", "additionalProperties": False, "required": list(members), "properties": members}
    responses = {
        "200": response("The answer", "application/json", answer),
        "400": problem("The request is not valid HTTP.", "request-unreadable"),
        "405": problem("The path does not support this method.", "method-not-allowed", "Allow"),
        "500": problem("Internal error.", "internal"),
    }
    what = "its name and the parameters of its path" if endpoint.parameters else "its name"
    item[endpoint.method.lower()] = operation(endpoint, endpoint.name, f"Answer with {what}", responses)
    if endpoint.method == "GET":
        without_body = {status: {key: part for key, part in each.items() if key != "content"} for status, each in responses.items() if status != "405"}
        item["head"] = operation(endpoint, f"{endpoint.name}-head", "Answer like GET, without a body", without_body)
    return item


def operation(endpoint, operation_id, summary, responses):
    return {"operationId": operation_id, "summary": summary, "description": f"{summary}.", "tags": [endpoint.tag], "security": [{"bearer": []}], "responses": responses}


def response(description, media_type, schema, *more):
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", "Cache-Control", *more)}
    return {"description": description, "headers": headers, "content": {media_type: {"schema": schema}}}


def problem(description, slug, *more):
    kind = {"properties": {"type": {"enum": [f"urn:truebond:problem:{slug}"]}}}
    return response(description, "application/problem+json", {"allOf": [{"$ref": "#/components/schemas/Problem"}, kind]}, *more)
