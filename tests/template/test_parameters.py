"""What scripts/deploy takes from samconfig.toml."""

import sys
import tomllib
import unittest
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import parameters  # noqa: E402

# What would be another parameter, or another value, to the SAM CLI or to the shell that hands the lines over.
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
    def test_a_value_is_one_word_of_one_parameter(self):
        for value in HOSTILE:
            with self.subTest(value=value), self.assertRaises(parameters.Unusable) as refused:
                read("LogRetentionDays=7", f"JwtAudience={value}")
            said = str(refused.exception)
            self.assertIn("JwtAudience", said)
            self.assertNotIn("development", said, "a value may be a secret")

    def test_a_name_is_a_name(self):
        for pair in ["", "JwtAudience", "=x", "a b=x", "a\nb=x", "ParameterKey=Environment,ParameterValue=x\n", 7, None]:
            with self.subTest(pair=pair), self.assertRaises(parameters.Unusable):
                read(pair)

    def test_what_is_written_is_read(self):
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
