"""Checks of the alarms and the dashboard."""

import functools
import json
import re

from checks import CREATED, REQUIRED, check, remove, spoil
from cloudformation import ROOT, binaries, camel, read

# The metrics of AWS, with their dimensions. The dimension of ElastiCache Serverless is in lower case.
AWS_METRICS = {
    "AWS/Lambda": ({"FunctionName"}, {"Errors", "Throttles", "Duration", "Invocations", "ConcurrentExecutions"}),
    "AWS/ApiGateway": ({"ApiId", "Stage"}, {"Count", "4xx", "5xx", "Latency", "IntegrationLatency"}),
    "AWS/SQS": ({"QueueName"}, {"ApproximateNumberOfMessagesVisible"}),
    "AWS/ElastiCache": (
        {"clusterId"},
        {
            "AuthenticationFailures",
            "BytesUsedForCache",
            "CommandAuthorizationFailures",
            "CurrConnections",
            "ElastiCacheProcessingUnits",
            "Evictions",
            "KeyAuthorizationFailures",
            "ThrottledCmds",
        },
    ),
}
ROUTES = {
    f"{event['Properties']['Method']} {event['Properties']['Path']}"
    for resource in read("template.yaml")["Resources"].values()
    for event in resource.get("Properties", {}).get("Events", {}).values()
    if event["Type"] == "HttpApi"
}
MONITORING = "deploy/monitoring.yaml"
FUNCTION = "deploy/function-alarms.yaml"


@functools.cache
def own_metrics():
    """The metrics that the code records, each with its dimension and that dimension's values."""
    everything = "\n".join(path.read_text() for path in (ROOT / "shared").rglob("*.rs") if not {"tests", "tests.rs"} & set(path.parts))
    counters, reconcile, anomaly = (
        (ROOT / "shared/crates" / path).read_text()
        for path in ("idempotency/src/counters.rs", "payments/src/reconcile.rs", "payments/src/anomaly.rs")
    )
    outcomes = set(re.findall(r'Self::\w+ => "(\w+)"', counters))
    anomalies = set(re.findall(r'Self::\w+ => "(\w+)"', anomaly))
    settled = set(re.findall(r'\bsettled\("([a-z]+)", self\.', reconcile))
    jobs = set(re.findall(r'\("job", "([\w-]+)"\)', everything))
    dependencies = set(re.findall(r'\brecord\(\s*&self\.metrics,\s*"(\w+)"', everything))
    names = set(re.findall(r'\bMetric \{\s*name: "(\w+)"', everything)) | set(re.findall(r'\bcount\("([A-Z][a-z]\w+)"', everything))
    for kind, values in {"outcome": outcomes, "anomaly": anomalies, "settled": settled, "job": jobs, "dependency": dependencies}.items():
        assert values, f"no value of {kind} found in the sources; has their form changed?"
    assert set(re.findall(r'\.record\(\s*\("(\w+)"', everything)) == {"outcome", "job", "dependency", "anomaly"}
    found = {}
    for name in names:
        if name == "IdempotentCalls":
            found[name] = ("outcome", outcomes)
        elif name == "PaymentsSettled":
            found[name] = ("outcome", settled)
        elif name == "PaymentAnomalies":
            found[name] = ("anomaly", anomalies)
        elif name.startswith("Dependency"):
            found[name] = ("dependency", dependencies)
        else:
            assert f'"{name}"' in reconcile, f"{name}: unknown dimension"
            found[name] = ("job", jobs)
    return found


def known(metric, templates):
    """Whether AWS or the code records the metric (namespace, name, dimensions)."""
    namespace, name, dimensions = metric
    if namespace in AWS_METRICS:
        keys, names = AWS_METRICS[namespace]
        # Lambda also records these metrics for each version behind an alias.
        of_version = {"FunctionName", "Resource", "ExecutedVersion"}
        return name in names and (set(dimensions) == keys or namespace == "AWS/Lambda" and set(dimensions) == of_version)
    assert namespace == "truebond", metric
    if dimensions.get("environment") != "production" or len(dimensions) != 2:
        return False
    if name == "ServerErrors":
        (transformation,) = templates.resource("ServerErrors")["MetricTransformations"]
        declared = {each["Key"] for each in transformation["Dimensions"]}
        return set(dimensions) == declared and dimensions["route"] in ROUTES
    key, values = own_metrics().get(name, (None, ()))
    return dimensions.get(key) in values


def of_alarm(properties):
    """The metrics that an alarm evaluates."""
    if "MetricName" in properties:
        yield properties["Namespace"], properties["MetricName"], {each["Name"]: each["Value"] for each in properties["Dimensions"]}
    for part in properties.get("Metrics", []):
        if "MetricStat" in part:
            metric = part["MetricStat"]["Metric"]
            yield metric["Namespace"], metric["MetricName"], {each["Name"]: each["Value"] for each in metric["Dimensions"]}


def alarms(templates, **parameters):
    """All alarms of a deployment, by stack and name."""
    stack = templates.stack(**parameters)
    parts = {"": stack, **stack.nested()}
    return {(part, name): alarm for part, each in parts.items() for name, alarm in each.of_type("AWS::CloudWatch::Alarm").items()}


def dashboard(templates):
    stack = templates.stack(**CREATED).nested()["Monitoring"]
    (board,) = stack.of_type("AWS::CloudWatch::Dashboard").values()
    return json.loads(board["DashboardBody"])


def charted(board):
    """The metrics of a dashboard. CloudWatch allows `.` for the value of the row above; this dashboard does not use it."""
    for widget in board["widgets"]:
        for row in widget["properties"]["metrics"]:
            words = [each for each in row if isinstance(each, str)]
            assert len(words) >= 4 and len(words) % 2 == 0, row
            yield words[0], words[1], dict(zip(words[2::2], words[3::2]))


def replace(path, resource, old, new):
    def change(templates):
        properties = templates.files[path]["Resources"][resource]["Properties"]
        text = properties["DashboardBody"]["Fn::Sub"]
        assert old in text
        properties["DashboardBody"]["Fn::Sub"] = text.replace(old, new)

    return change


def spoil_in(path, resource, *way, to=None):
    def change(templates):
        at = templates.files[path]["Resources"][resource]["Properties"]
        for step in way[:-1]:
            at = at[step]
        if to is None:
            del at[way[-1]]
        else:
            at[way[-1]] = to

    return change


@check(
    remove("HealthAlarms"),
    spoil("PaymentsCreateAlarms", "Parameters", "TimeoutSeconds", to=10),
    spoil("PaymentsGetAlarms", "Parameters", "FunctionName", to={"Fn::Sub": "${AWS::StackName}-payments"}),
    remove("Throttles", FUNCTION),
    remove("NewVersionErrors", FUNCTION),
    spoil("HealthAlarms", "Parameters", "Version", to={"Fn::GetAtt": "HealthRedisFunction.Version.Version"}),
    spoil_in(FUNCTION, "NewVersionErrors", "Dimensions", 1, "Value", to={"Fn::Sub": "${FunctionName}"}),
    spoil_in(FUNCTION, "Duration", "Metrics", 0, "Expression", to={"Fn::Sub": "duration / ${TimeoutSeconds}"}),
    spoil_in(FUNCTION, "Duration", "Metrics", 1, "MetricStat", "Stat", to="Average"),
)
def every_function_has_alarms_on_errors_throttles_and_duration(templates):
    stack = templates.stack(**REQUIRED)
    nested = stack.nested()
    for name in binaries():
        timeout = stack.resources[f"{camel(name)}Function"]["Properties"]["Timeout"]
        part = nested[f"{camel(name)}Alarms"]
        assert part.parameters["FunctionName"] == f"tb-test-{name}"
        assert part.parameters["TimeoutSeconds"] == str(timeout), (name, timeout)
        found = part.of_type("AWS::CloudWatch::Alarm")
        evaluated = {alarm: [metric[1] for metric in of_alarm(properties)] for alarm, properties in found.items()}
        assert evaluated == {"Errors": ["Errors"], "NewVersionErrors": ["Errors"], "Throttles": ["Throttles"], "Duration": ["Duration"]}, name
        new_version = {each["Name"]: each["Value"] for each in found["NewVersionErrors"]["Dimensions"]}
        (version,) = (version for version in stack.of_type("AWS::Lambda::Version") if version.startswith(f"{camel(name)}FunctionVersion"))
        assert new_version == {"FunctionName": f"tb-test-{name}", "Resource": f"tb-test-{name}:live", "ExecutedVersion": f"<{version}.Version>"}, new_version
        used, duration = found["Duration"]["Metrics"]
        # The duration in milliseconds as a percentage of the timeout in seconds.
        assert used["Expression"] == f"duration / ({timeout} * 10)" and duration["MetricStat"]["Stat"] == "p99"
        assert found["Duration"]["Threshold"] == 80


@check(
    remove("UnknownOutcomesAlarm", MONITORING),
    remove("ChargedAfterFailedAlarm", MONITORING),
    remove("LivemodeMismatchAlarm", MONITORING),
    remove("PaymentsUnreadableAlarm", MONITORING),
    spoil_in(MONITORING, "AmountMismatchAlarm", "Dimensions", 1, "Value", to="charged_without_row"),
    remove("CacheMemoryAlarm", MONITORING),
    remove("CacheCommandsAlarm", MONITORING),
    remove("ApiLatencyAlarm", MONITORING),
    remove("OldestUnknownKeyAlarm", MONITORING),
    remove("PaymentServerErrorsAlarm"),
    remove("Monitoring"),
    spoil_in(MONITORING, "CacheThrottledAlarm", "MetricName", to="Throttled"),
)
def every_failure_metric_has_an_alarm(templates):
    evaluated = {(metric[1], *(value for key, value in metric[2].items() if key in ("outcome", "anomaly"))) for alarm in alarms(templates, **CREATED).values() for metric in of_alarm(alarm)}
    expected = {("IdempotentCalls", outcome) for outcome in ("replay", "conflict", "mismatch", "unknown", "superseded", "degraded")}
    expected |= {("PaymentAnomalies", anomaly) for anomaly in own_metrics()["PaymentAnomalies"][1]}
    expected |= {("OldestOpenPaymentAge",), ("OldestUnknownKeyAge",), ("ReconcileRuns",), ("ReconcileFinished",), ("PaymentsUnreadable",), ("DependencyUp",), ("ApproximateNumberOfMessagesVisible",)}
    expected |= {("5xx",), ("Latency",), ("ServerErrors",), ("Errors",), ("Throttles",), ("Duration",)}
    expected |= {("ThrottledCmds",), ("BytesUsedForCache",), ("Evictions",), ("CurrConnections",), ("AuthenticationFailures",)}
    expected |= {("CommandAuthorizationFailures",), ("KeyAuthorizationFailures",)}
    assert expected <= evaluated, expected - evaluated
    without_cache = [name for _, name in alarms(templates, **REQUIRED) if name.startswith("Cache")]
    assert without_cache == []


@check(
    spoil_in(MONITORING, "MismatchesAlarm", "Dimensions", 1, "Value", to="mismatched"),
    spoil_in(MONITORING, "ReconcileHeartbeatAlarm", "Metrics", 1, "MetricStat", "Metric", "MetricName", to="Runs"),
    spoil_in(MONITORING, "ReconcileHeartbeatAlarm", "Metrics", 1, "MetricStat", "Metric", "Dimensions", 0, "Name", to="Environment"),
    spoil_in(MONITORING, "CacheThrottledAlarm", "Dimensions", 0, "Name", to="CacheClusterId"),
    spoil("PaymentServerErrorsAlarm", "Dimensions", 1, "Value", to="POST /payments"),
    spoil("ServerErrors", "MetricTransformations", 0, "Dimensions", 0, "Key", to="Environment"),
)
def alarms_use_only_recorded_metrics(templates):
    for name, alarm in alarms(templates, **CREATED).items():
        for metric in of_alarm(alarm):
            assert known(metric, templates), (name, metric)


@check(
    spoil_in(MONITORING, "ReconcileHeartbeatAlarm", "Metrics", 0, "Expression", to="runs"),
    spoil_in(MONITORING, "ReconcileHeartbeatAlarm", "Metrics", 1, "MetricStat", "Period", to=300),
    spoil_in(MONITORING, "ReconcileHeartbeatAlarm", "DatapointsToAlarm", to=7),
    spoil_in(MONITORING, "ReconcileHeartbeatAlarm", "DatapointsToAlarm", to=1),
)
def a_stopped_schedule_raises_an_alarm_within_minutes(templates):
    """CloudWatch replaces a missing value by older values, so the alarm needs FILL. The last minute can be empty, because metrics arrive late."""
    alarm = templates.stack(**REQUIRED).nested()["Monitoring"].of_type("AWS::CloudWatch::Alarm")["ReconcileHeartbeatAlarm"]
    shown, runs = alarm["Metrics"]
    assert shown["Expression"] == "FILL(runs, 0)" and runs["Id"] == "runs"
    assert (runs["MetricStat"]["Period"], runs["MetricStat"]["Stat"]) == (60, "Sum")
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("LessThanThreshold", 1)
    assert 5 <= alarm["DatapointsToAlarm"] < alarm["EvaluationPeriods"] <= 10


@check(
    spoil_in(MONITORING, "UnknownOutcomesAlarm", "AlarmActions"),
    spoil_in(MONITORING, "UnknownOutcomesAlarm", "AlarmActions", to=[]),
    spoil_in(MONITORING, "UnknownOutcomesAlarm", "TreatMissingData"),
    spoil_in(MONITORING, "ReconcileHeartbeatAlarm", "TreatMissingData", to="notBreaching"),
    spoil_in(MONITORING, "OldestOpenPaymentAlarm", "AlarmDescription", to="A. B. C. docs/runbook.md, Old payments"),
    spoil_in(MONITORING, "OldestOpenPaymentAlarm", "AlarmDescription", to="A payment stays open. docs/runbook.md, Oldest open payment"),
    spoil("Monitoring", "Parameters", "Topic", to="arn:aws:sns:eu-west-1:1:other"),
)
def every_alarm_notifies_the_topic_and_explains_itself_with_a_section_of_the_runbook(templates):
    titles = set(re.findall(r"^### (.+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE))
    named = set()
    for (part, name), alarm in alarms(templates, **CREATED).items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == ["<AlarmTopic>"], (part, name)
        missing = "breaching" if name == "ReconcileHeartbeatAlarm" else "notBreaching"
        assert alarm["TreatMissingData"] == missing, (part, name)
        description = re.fullmatch(r"(.+) docs/runbook\.md, (.+)", alarm["AlarmDescription"])
        assert description, (part, name, alarm["AlarmDescription"])
        sentences, title = description.groups()
        # The description contains what happened, the effect on payments, and what to do.
        assert len(re.findall(r"\.(?: |$)", sentences)) >= 3, (part, name, sentences)
        assert title in titles, (part, name, title)
        named.add(title)
    section = (ROOT / "docs/runbook.md").read_text().split("\n## Alarms\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^### (.+)$", section, re.MULTILINE)) == named, "a section of the runbook belongs to no alarm"


@check(
    replace(MONITORING, "Dashboard", '"widgets":[', '"widgets":[,'),
    replace(MONITORING, "Dashboard", '"DependencyUp"', '"DependencyIsUp"'),
    replace(MONITORING, "Dashboard", '"outcome","degraded"', '"outcome","down"'),
    replace(MONITORING, "Dashboard", '"anomaly","amount_mismatch"', '"anomaly","amount"'),
    replace(MONITORING, "Dashboard", '"PaymentsOpen"', '"ReconcileRuns"'),
    replace(MONITORING, "Dashboard", '"clusterId"', '"CacheClusterId"'),
    replace(MONITORING, "Dashboard", '"Errors","FunctionName","${Backend}-idempotency"', '"Errors","FunctionName","${Backend}-health"'),
    replace(MONITORING, "Dashboard", '"x":8,"y":0', '"x":0,"y":0'),
)
def the_dashboard_shows_all_recorded_metrics(templates):
    board = dashboard(templates)
    metrics = list(charted(board))
    for metric in metrics:
        assert known(metric, templates), metric
    shown = {(name, value) for _, name, dimensions in metrics for value in dimensions.values()}
    measured = {(name, value) for name, (_, values) in own_metrics().items() for value in values}
    assert measured <= shown, measured - shown
    for name in ("Errors", "Throttles", "Duration"):
        functions = {dimensions["FunctionName"] for _, each, dimensions in metrics if each == name}
        assert functions == {f"tb-test-{binary}" for binary in binaries()}, name
    places = [(widget["x"], widget["y"]) for widget in board["widgets"]]
    assert len(places) == len(set(places)), "widgets overlap"


@check(
    lambda t: t.resource("HttpApi")["AccessLogSettings"].update(Format={"Fn::Sub": '{"status":$context.status,}'}),
    lambda t: t.resource("HttpApi")["AccessLogSettings"].update(Format={"Fn::Sub": '{"route":"$context.routeKey","environment":"${Environment}","status":"$context.status"}'}),
    lambda t: t.resource("HttpApi")["AccessLogSettings"].update(
        Format={"Fn::Sub": '{"route":"$context.routeKey","environment":"${Environment}","status":$context.status,"who":"$context.authorizer.claims.sub"}'}
    ),
    spoil("HttpApi", "AccessLogSettings"),
    spoil("ServerErrors", "FilterPattern", to="{ $.code >= 500 }"),
)
def the_access_log_is_json_without_personal_data(templates):
    (stage,) = templates.stack(**REQUIRED).of_type("AWS::ApiGatewayV2::Stage").values()
    settings = stage["AccessLogSettings"]
    assert settings["DestinationArn"] == "<AccessLogGroup.Arn>"
    assert "\n" not in settings["Format"]
    line = json.loads(settings["Format"].replace("$context.status", "503"))
    # The metric filter compares numbers, so `status` must be a number.
    assert line["status"] == 503 and line["environment"] == "production" and line["route"] == "$context.routeKey"
    assert templates.resource("ServerErrors")["FilterPattern"] == "{ $.status >= 500 }"
    assert not re.search(r"claims|header|query|requestOverride|authorizer\.(?!error)", settings["Format"])
