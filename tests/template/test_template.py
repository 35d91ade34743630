"""Holds template.yaml and the templates beside it to what is promised of them, and each check to being able to fail."""

import unittest

import check_access  # noqa: F401
import check_functions  # noqa: F401
import check_monitoring  # noqa: F401
import check_settings  # noqa: F401
from checks import CHECKS
from cloudformation import Broken, Templates

TEMPLATES = Templates()


class Template(unittest.TestCase):
    """Each check is a test here."""


class Spoiled(unittest.TestCase):
    """And each change that must not pass a check."""


def holds(function):
    return lambda self: function(TEMPLATES.copy())


def fails(function, spoiler):
    def test(self):
        templates = TEMPLATES.copy()
        spoiler(templates)
        # Any exception that a spoiled template can cause; an error of the check itself shows in the test above.
        with self.assertRaises((AssertionError, Broken, KeyError, TypeError, ValueError)):
            function(templates)

    return test


for function, spoilers in CHECKS:
    setattr(Template, f"test_{function.__name__}", holds(function))
    for number, spoiler in enumerate(spoilers, 1):
        setattr(Spoiled, f"test_{function.__name__}_{number}", fails(function, spoiler))

if __name__ == "__main__":
    unittest.main()
