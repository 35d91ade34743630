"""What the scripts and the workflow download is pinned: by exact version, and by the hash of what comes."""

import re
import unittest

from cloudformation import ROOT


class Others(unittest.TestCase):
    def test_actions_are_pinned_by_commit(self):
        uses = re.findall(r"uses: (.*)", (ROOT / ".github/workflows/ci.yml").read_text())
        self.assertTrue(uses)
        for action in uses:
            self.assertRegex(action, r"^[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
        # One commit for each.
        self.assertEqual(len(set(uses)), len({action.partition("@")[0] for action in uses}))


if __name__ == "__main__":
    unittest.main()
