"""Runs the checks of template.yaml and the templates in deploy/, and tests that each check can fail."""

import unittest

import check_access  # noqa: F401
import check_functions  # noqa: F401
import check_monitoring  # noqa: F401
import check_settings  # noqa: F401
from checks import CHECKS
from cloudformation import Broken, Templates

TEMPLATES = Templates()


class Template(unittest.TestCase):
    """One test per check: the templates pass."""


class Spoiled(unittest.TestCase):
    """One test per spoiler: the check fails on the changed templates."""


def holds(function):
    return lambda self: function(TEMPLATES.copy())


def fails(function, spoiler):
    def test(self):
        templates = TEMPLATES.copy()
        spoiler(templates)
        # These are all exceptions that a spoiled template can cause. If the check has a bug, the test of the check in
        # `Template` also fails.
        with self.assertRaises((AssertionError, Broken, KeyError, TypeError, ValueError)):
            function(templates)

    return test


for function, spoilers in CHECKS:
    setattr(Template, f"test_{function.__name__}", holds(function))
    for number, spoiler in enumerate(spoilers, 1):
        setattr(Spoiled, f"test_{function.__name__}_{number}", fails(function, spoiler))

if __name__ == "__main__":
    unittest.main()
