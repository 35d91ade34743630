"""Tests that docs/deploy.md and docs/runbook.md agree with the scripts and the templates."""

import re
import sys
import unittest

from check_monitoring import alarms, of_alarm, own_metrics
from checks import CREATED
from cloudformation import ROOT, Templates

sys.path.insert(0, str(ROOT / "scripts"))
import costs  # noqa: E402

DEPLOY = (ROOT / "docs/deploy.md").read_text()
RUNBOOK = (ROOT / "docs/runbook.md").read_text()


class Documents(unittest.TestCase):
    def test_the_costs_are_the_output_of_the_script(self):
        shown = DEPLOY.split("<!-- make costs -->\n")[1].split("<!-- -->")[0].strip()
        self.assertEqual(shown, costs.tables())

    def test_the_costs_count_the_resources_of_the_templates(self):
        metrics = sum(len(list(of_alarm(alarm))) for alarm in alarms(Templates(), **CREATED).values())
        self.assertEqual(costs.IDLE["alarm_metrics"], metrics)
        self.assertEqual(costs.IDLE["own_metrics"], sum(len(values) for _, values in own_metrics().values()))
        parameters = Templates().main["Parameters"]
        # One secret per parameter except for the URLs of Redis, because the cache is created, plus the template's own secrets.
        own = len(Templates().stack(**CREATED).of_type("AWS::SecretsManager::Secret"))
        given = [name for name in parameters if name.endswith("SecretArn") and not name.startswith("Redis")]
        self.assertEqual(costs.IDLE["secrets"], len(given) + own)

    def test_every_parameter_in_the_documents_exists(self):
        names = set(Templates().main["Parameters"]) | {"NatGateways", "SecretsManagerEndpoint", "NatAddresses"}
        other = {"CachePaymentsUser", "CacheIdempotencyUser", "CacheHealthUser", "PaymentMacKeys", "MongodbEndpoint", "MemorySize", "ConcurrentExecutions", "DependencyLatency", "IntegrationLatency", "Latency", "IamAuthenticationThrottling"}
        for text in (DEPLOY, RUNBOOK):
            named = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)", text))
            self.assertEqual(named - names - other, set())

    def test_every_link_has_a_target(self):
        for name, text in (("deploy.md", DEPLOY), ("runbook.md", RUNBOOK), ("../README.md", (ROOT / "README.md").read_text())):
            for link in re.findall(r"\]\(([^)]+)\)", text):
                if link.startswith("http"):
                    continue
                path, _, anchor = link.partition("#")
                file = ((ROOT / "docs" / name).parent / path).resolve() if path else (ROOT / "docs" / name).resolve()
                self.assertTrue(file.exists(), (name, link))
                if anchor:
                    headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
                    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
                    self.assertIn(anchor, anchors, (name, link))


if __name__ == "__main__":
    unittest.main()
