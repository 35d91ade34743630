"""Computes the cost of a million payments and of an idle month, and prints the tables of docs/cost.md.

The prices are list prices of us-east-1 in dollars, without free tiers and taxes. They were looked up on 26 November 2026 in secondary
sources, because the price pages themselves were not reachable. Each comment contains the source and its date. Check the prices before you
use them. Not included are Stripe's fees (which are higher than all these costs), support plans, and the traffic of the apps.
"""

import math

MONTH_HOURS = 730

PRICES = {
    # https://aws.amazon.com/lambda/pricing/ (arm64): wring.co, March 2026
    "lambda_million_requests": 0.20,
    "lambda_gigabyte_second": 0.0000133334,
    # https://aws.amazon.com/api-gateway/pricing/ (HTTP API, requests of up to 512 KB): awsforengineers.com, May 2025, and others
    "api_million_requests": 1.00,
    # https://aws.amazon.com/cloudwatch/pricing/: factualminds.com, June 2026 (logs, dashboards); signoz.io, February 2026 (metrics);
    # c3x.dev (alarms). No source for the price of storing logs was found; it is from memory.
    "log_gigabyte": 0.50,
    "log_gigabyte_month": 0.03,
    "metric_month": 0.30,
    "alarm_metric_month": 0.10,
    "dashboard_month": 3.00,
    # https://aws.amazon.com/xray/pricing/: an older copy of that page
    "trace_million": 5.00,
    # https://aws.amazon.com/vpc/pricing/: cloudburn.io, February 2026 (NAT, address)
    "nat_hour": 0.045,
    "nat_gigabyte": 0.045,
    "address_hour": 0.005,
    # https://aws.amazon.com/privatelink/pricing/: a copy of that page (gigabytes), egresscost.com (hours)
    "endpoint_hour": 0.01,
    "endpoint_gigabyte": 0.01,
    # https://aws.amazon.com/ec2/pricing/on-demand/ (data transfer): cloudpipelines.pages.dev, 2026 (internet); from memory (region)
    "internet_gigabyte": 0.09,
    "region_gigabyte": 0.01,
    # https://aws.amazon.com/elasticache/pricing/ (serverless, Valkey; at least 0.1 GB): usage.ai, June 2026
    "cache_gigabyte_hour": 0.084,
    "cache_million_ecpu": 0.0023,
    "cache_least_gigabytes": 0.1,
    # https://aws.amazon.com/kms/pricing/: cloudburn.io, March 2026; each of the first yearly rotations adds the same price
    "key_month": 1.00,
    # https://aws.amazon.com/secrets-manager/pricing/: hivebook.wiki, undated
    "secret_month": 0.40,
    # https://aws.amazon.com/eventbridge/pricing/ (Scheduler): from memory; awsnegotiations.com, May 2026, calls it low
    "schedule_million": 1.00,
    # https://www.mongodb.com/pricing (Atlas M10 on AWS, three nodes, 10 GB): from memory. This page says "Starts at $60 per month":
    # https://www.mongodb.com/docs/atlas/billing/billing-breakdown-optimization/
    "atlas_m10_hour": 0.08,
}

# The average payment. docs/architecture.md has the numbers of round trips. The times are for a provider that takes 300 ms. The number of
# traces assumes that payments are spread evenly over the month.
PAYMENT = {
    "requests": {
        # function: (requests per payment, milliseconds, GB of memory)
        "payments-create": (1.05, 700, 0.5),  # one request in twenty is repeated
        "payments-webhook": (2, 350, 0.5),  # for example payment_intent.processing and payment_intent.succeeded
        "payments-get": (1, 20, 0.5),
    },
    "cold_share": 0.01,
    "cold_ms": 300,
    "log_bytes": 2500,  # per request: Lambda's three lines, the function's own line, a metric or two, the access log
    "provider_bytes": 30_000,  # two requests to Stripe, one per event, their share of TLS handshakes
    "provider_bytes_out": 10_000,  # the outbound part
    "mongodb_bytes": 40_000,  # seven round trips and more
    "ecpu": 12,  # two scripts of at most a kilobyte each, and a share of the connections
}

# A month without payments.
IDLE = {
    "nat_gateways": 1,
    "secrets": 9,  # four logins of MongoDB, Stripe's key, its signing secrets, the token of health, the MAC keys, the password of the cache's default user, which is off
    "own_metrics": 27,
    "alarm_metrics": 63,
    "reconcile_ms": 40,
    "health_requests": 2 * 60 * 24 * 30,  # two probers, each once a minute
    "health_ms": 15,
    "log_bytes": 1800,
}
RUNS = 60 * 24 * 30.4


def traced(per_second):
    """Returns the share of a function's invocations that X-Ray records: the first in each second, and one in twenty of the others."""
    first = 1 - math.exp(-per_second)
    return (first + 0.05 * (per_second - first)) / per_second


def million_payments():
    """Returns the cost of a million payments by service, without the cost of an idle month."""
    million, p = 1e6, PRICES
    calls = sum(count for count, _, _ in PAYMENT["requests"].values())
    seconds = 0.0
    for count, ms, gigabytes in PAYMENT["requests"].values():
        seconds += count * (ms + PAYMENT["cold_share"] * PAYMENT["cold_ms"]) / 1000 * gigabytes
    traces = sum(count * traced(count * million / (MONTH_HOURS * 3600)) for count, _, _ in PAYMENT["requests"].values())
    logs = calls * PAYMENT["log_bytes"] * million / 1e9
    return {
        "Lambda": calls * p["lambda_million_requests"] + seconds * million * p["lambda_gigabyte_second"],
        "API Gateway": calls * p["api_million_requests"],
        "Logs, kept for a month": logs * (p["log_gigabyte"] + p["log_gigabyte_month"]),
        "X-Ray": traces * p["trace_million"],
        "Traffic with the provider": million / 1e9 * (PAYMENT["provider_bytes"] * p["nat_gigabyte"] + PAYMENT["provider_bytes_out"] * p["internet_gigabyte"]),
        "ElastiCache, work": PAYMENT["ecpu"] * p["cache_million_ecpu"],
    }


def idle_month():
    """Returns the cost of an idle month, by service."""
    p = PRICES
    invocations = RUNS + IDLE["health_requests"]
    seconds = (RUNS * IDLE["reconcile_ms"] + IDLE["health_requests"] * IDLE["health_ms"]) / 1000 * 0.5
    logs = invocations * IDLE["log_bytes"] / 1e9
    return {
        "NAT gateway and its address": IDLE["nat_gateways"] * MONTH_HOURS * (p["nat_hour"] + p["address_hour"]),
        "ElastiCache Serverless, the minimum": MONTH_HOURS * p["cache_least_gigabytes"] * p["cache_gigabyte_hour"],
        "MongoDB Atlas M10": MONTH_HOURS * p["atlas_m10_hour"],
        "Alarms": IDLE["alarm_metrics"] * p["alarm_metric_month"],
        "Our own metrics": IDLE["own_metrics"] * p["metric_month"],
        "Dashboard": p["dashboard_month"],
        "Key and secrets": p["key_month"] + IDLE["secrets"] * p["secret_month"],
        # At this low rate X-Ray records every invocation.
        "Schedule, probes, their logs and traces": invocations / 1e6 * (p["lambda_million_requests"] + p["trace_million"])
        + RUNS / 1e6 * p["schedule_million"]
        + IDLE["health_requests"] / 1e6 * p["api_million_requests"]
        + seconds * p["lambda_gigabyte_second"]
        + logs * (p["log_gigabyte"] + p["log_gigabyte_month"]),
    }


def choices():
    """Returns the additional cost of optional parts, per month."""
    p = PRICES
    mongodb_gigabytes = PAYMENT["mongodb_bytes"] * 1e6 / 1e9
    return {
        "A second NAT gateway": MONTH_HOURS * (p["nat_hour"] + p["address_hour"]),
        "An endpoint of Secrets Manager, in two zones": 2 * MONTH_HOURS * p["endpoint_hour"],
        "Atlas by PrivateLink, in two zones (Atlas charges for its side too)": 2 * MONTH_HOURS * p["endpoint_hour"],
        "Atlas by PrivateLink, for each million payments": mongodb_gigabytes * p["endpoint_gigabyte"],
        "Atlas through NAT, for each million payments": mongodb_gigabytes * (p["nat_gigabyte"] + p["region_gigabyte"]),
    }


def table(heading, rows, total=None):
    lines = [f"| {heading} | $ |", "|---|---:|"]
    lines += [f"| {name} | {cost:,.2f} |" for name, cost in rows.items()]
    if total:
        lines.append(f"| **{total}** | **{sum(rows.values()):,.2f}** |")
    return "\n".join(lines)


def tables():
    return "\n\n".join(
        [
            table("a million payments", million_payments(), "together"),
            table("an idle month", idle_month(), "together"),
            table("and, if chosen, per month", choices()),
        ]
    )


if __name__ == "__main__":
    print(tables())
