"""Tests that the docs have the parameters and costs of the templates and scripts, and that their links resolve."""

import re
import sys
import unittest

from check_monitoring import alarms, of_alarm, own_metrics
from checks import CREATED
from cloudformation import ROOT, Templates, binaries

sys.path.insert(0, str(ROOT / "scripts"))
import costs  # noqa: E402

README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
# Crates' READMEs are left out: rustdoc resolves their links.
LINKED = [README, *DOCS, *sorted((ROOT / "bench").rglob("*.md"))]
ABOUT_DEPLOYMENT = ["cost", "deploy", "deploy-choices", "health", "operating", "runbook", "security"]


def page(name):
    return (ROOT / f"docs/{name}.md").read_text(encoding="utf-8")


def links(text):
    """The links of a page, except for links in blocks of code."""
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL))


def cells(row):
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


def anchors(text):
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(file, text):
    """The broken links of a page."""
    for link in links(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (file.parent / path).resolve() if path else file
        if not target.exists() or anchor and anchor not in anchors(text if target == file else target.read_text(encoding="utf-8")):
            yield link


class Documents(unittest.TestCase):
    def test_the_costs_are_those_of_the_script(self):
        shown = page("cost").split("<!-- make costs -->\n")[1].split("<!-- -->")[0].strip()
        self.assertEqual(shown, costs.tables())

    def test_the_costs_count_the_resources_of_the_templates(self):
        metrics = sum(len(list(of_alarm(alarm))) for alarm in alarms(Templates(), **CREATED).values())
        self.assertEqual(costs.IDLE["alarm_metrics"], metrics)
        self.assertEqual(costs.IDLE["own_metrics"], sum(len(values) for _, values in own_metrics().values()))
        parameters = Templates().main["Parameters"]
        # Each parameter for a secret needs one secret, and the template creates further secrets. The parameters for Redis's URLs need no
        # secret, because the stack creates the cache.
        own = len(Templates().stack(**CREATED).of_type("AWS::SecretsManager::Secret"))
        given = [name for name in parameters if name.endswith("SecretArn") and not name.startswith("Redis")]
        self.assertEqual(costs.IDLE["secrets"], len(given) + own)

    def test_every_parameter_in_the_documents_exists(self):
        names = set(Templates().main["Parameters"]) | {"NatGateways", "SecretsManagerEndpoint", "NatAddresses"}
        other = {"CachePaymentsUser", "CacheIdempotencyUser", "CacheHealthUser", "PaymentMacKeys", "MongodbEndpoint", "ApiUrl", "ClientId", "MemorySize", "ConcurrentExecutions", "DependencyLatency", "IntegrationLatency", "Latency", "IamAuthenticationThrottling"}
        for name in ABOUT_DEPLOYMENT:
            named = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)", page(name)))
            self.assertEqual(named - names - other, set(), name)

    def test_each_parameter_is_explained(self):
        table = page("deploy-choices").split("## Parameters")[1].split("\n## ")[0]
        explained = [name for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]
        self.assertCountEqual(explained, Templates().main["Parameters"])

    def test_log_messages_that_the_runbook_names_are_logged(self):
        text = re.sub(r"^ *```.*?^ *```", "", page("runbook"), flags=re.MULTILINE | re.DOTALL)
        quoted = {" ".join(part.split()).removesuffix("…").rstrip(" ,:") for part in re.findall(r"`([^`]+)`", text)}
        # A message consists of three or more plain words. A command has other characters too.
        named = {part for part in quoted if re.fullmatch(r"[a-z]+(?:[:,]? [a-z]+){2,}", part)}
        self.assertGreater(len(named), 5, named)
        sources = [file.read_text(encoding="utf-8") for folder in ("shared", "functions") for file in (ROOT / folder).rglob("*.rs")]
        self.assertEqual({part for part in named if not any(part in source for source in sources)}, set())

    def test_each_alarm_is_named_in_its_section_of_the_runbook(self):
        section = page("runbook").split("\n## Alarms\n")[1].split("\n## ")[0]
        parts = [part.split("\n\n") for part in section.split("\n### ")[1:]]
        named = {title: set(re.findall(r"`STACK-([\w-]+)`", names)) for title, names, *_ in parts}
        functions = "|".join(sorted(binaries(), key=len, reverse=True))
        found = {title: set() for title in named}
        for alarm in alarms(Templates(), **CREATED).values():
            name = re.sub(rf"^({functions})-", "FUNCTION-", alarm["AlarmName"].removeprefix("tb-test-"))
            found[alarm["AlarmDescription"].rpartition("docs/runbook.md, ")[2]].add(name)
        self.assertEqual(named, found)

    def test_each_payment_anomaly_has_a_row_in_the_runbook(self):
        table = page("runbook").split("| `payment.anomaly` |")[1].split("\n\n")[0]
        self.assertCountEqual(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE), own_metrics()["PaymentAnomalies"][1])

    def test_links_lead_somewhere(self):
        for file in LINKED:
            self.assertEqual(list(broken(file, file.read_text(encoding="utf-8"))), [], file)

    def test_a_broken_link_is_found(self):
        text = "# Here\n[a](#here) [b](#there) [c](docs/nothing.md) [d](docs/runbook.md#alarms) [e](docs/runbook.md#no)\n```text\n[f](x)\n```\n"
        self.assertEqual(list(broken(README, text)), ["#there", "docs/nothing.md", "docs/runbook.md#no"])

    def test_the_evidence_is_that_of_the_results(self):
        text = " ".join(README.read_text(encoding="utf-8").split())
        rows = {row[0]: row for row in map(cells, (ROOT / "bench/results/summary.md").read_text(encoding="utf-8").splitlines())}
        ours, python, typescript = (rows[name][2].split(" ")[0] for name in ("**ours, Redis**", "Powertools Python, Redis", "Powertools TypeScript, Redis"))
        self.assertIn(f"takes {ours} µs longer with our Redis store, {python} µs with Powertools for Python and {typescript} µs with", text)
        hunts = [cells(row) for row in page("testing").splitlines() if row.startswith("| `make hunt PROFILE=hunt PAYMENTS=100000")]
        self.assertEqual(len(hunts), 2)
        payments, faults = (sum(int(row[column].replace(" ", "")) for row in hunts) for column in (1, 3))
        self.assertIn(f"{payments:,} payments through the built functions under {faults:,} random faults".replace(",", " "), text)
        bugs = len(list((ROOT / "tests/hunt/bugs").glob("*.patch")))
        self.assertIn(f"each of {bugs} bugs", text)

    def test_the_readme_is_short_and_leads_to_every_page(self):
        text = README.read_text(encoding="utf-8")
        # The rows of endpoints do not count, so that a new endpoint can add its row.
        lines = [line for line in text.splitlines() if not re.match(r"\| `(?:GET|POST|PUT|DELETE|lambda:Invoke)`", line)]
        self.assertLessEqual(len(lines), 142)
        self.assertEqual({f"docs/{file.name}" for file in DOCS} - {link.partition("#")[0] for link in links(text)}, set())


if __name__ == "__main__":
    unittest.main()
