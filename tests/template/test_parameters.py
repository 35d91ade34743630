"""Tests how scripts/parameters.py reads samconfig.toml."""

import sys
import tomllib
import unittest
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import parameters  # noqa: E402

# Values that the SAM CLI or the shell would turn into another value or another parameter.
HOSTILE = [
    "x\nEnvironment=development",
    "x\r\nEnvironment=development",
    "x Environment=development",
    "x\tEnvironment=development",
    "x\u2028Environment=development",
    "x\u00a0y",
    "x\x0bEnvironment=development",
    "\x1b[2J",
    "x\x00y",
    "a,ParameterKey=Environment,ParameterValue=development",
    '"x"',
    'x" Environment="development',
    "'x'",
    "x\\",
    "x\\ y",
]


def read(*pairs):
    return parameters.overrides({"parameter_overrides": list(pairs)})


class Parameters(unittest.TestCase):
    def test_a_value_that_sam_would_split_is_rejected(self):
        for value in HOSTILE:
            with self.subTest(value=value), self.assertRaises(parameters.Unusable) as raised:
                read("LogRetentionDays=7", f"JwtAudience={value}")
            error = str(raised.exception)
            self.assertIn("JwtAudience", error)
            self.assertNotIn("development", error, "a value may be a secret")

    def test_an_invalid_name_is_rejected(self):
        for pair in ["", "JwtAudience", "=x", "a b=x", "a\nb=x", "ParameterKey=Environment,ParameterValue=x\n", 7, None]:
            with self.subTest(pair=pair), self.assertRaises(parameters.Unusable):
                read(pair)

    def test_valid_values_are_read_unchanged(self):
        values = ["", "a,b", "https://issuer.example/?a=b", "rediss://user:p%20w@host:6379/0", "10.0.0.0/16", "größe", "arn:aws:kms:eu-west-1:1:key/x"]
        for value in values:
            self.assertEqual(read(f"JwtAudience={value}", "BuildId=1"), {"JwtAudience": value})
        guided = 'BuildId="17" Environment="staging" JwtAudience="a"'
        self.assertEqual(parameters.overrides({"parameter_overrides": guided}), {"Environment": "staging", "JwtAudience": "a"})
        with self.assertRaises(parameters.Unusable):
            parameters.overrides({"parameter_overrides": 'JwtAudience="a Environment=x"'})

    def test_every_environment_of_the_file_is_read(self):
        file = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
        environments = [name for name, value in file.items() if isinstance(value, dict)]
        self.assertGreater(len(environments), 1)
        for name in environments:
            self.assertEqual(parameters.overrides(file[name]["deploy"]["parameters"])["Environment"], name)


if __name__ == "__main__":
    unittest.main()
