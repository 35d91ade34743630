"""Tests that scripts/lambda_fit.py detects programs that Lambda cannot load, and how scripts/parameters.py reads parameters."""

import contextlib
import io
import struct
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

from cloudformation import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import lambda_fit  # noqa: E402
import parameters  # noqa: E402

ARM64, X86_64 = 183, 62


def program(machine=ARM64, glibc="2.34", magic=b"\x7fELF\x02\x01"):
    header = magic + bytes(10) + struct.pack("<HH", 3, machine)
    return header + b"\0libc.so.6\0GLIBC_2.17\0GLIBC_" + glibc.encode() + b"\0"


class Programs(unittest.TestCase):
    def test_a_loadable_program_has_no_fault(self):
        self.assertEqual(lambda_fit.faults(program(), "arm64"), [])
        self.assertEqual(lambda_fit.faults(program(X86_64, "2.9"), "x86_64"), [])

    def test_the_fault_of_an_unloadable_program_is_named(self):
        self.assertIn("glibc 2.36", lambda_fit.faults(program(glibc="2.36"), "arm64")[0])
        self.assertIn("machine 62", lambda_fit.faults(program(X86_64), "arm64")[0])
        self.assertIn("not a 64-bit ELF", lambda_fit.faults(program(magic=b"MZ"), "arm64")[0])
        self.assertIn("not linked against glibc", lambda_fit.faults(program().replace(b"GLIBC_", b"MUSL__"), "arm64")[0])

    def test_the_glibc_of_this_interpreter_is_found(self):
        if not sys.platform.startswith("linux"):
            self.skipTest("not an ELF program")
        version = lambda_fit.glibc(Path(sys.executable).resolve().read_bytes())
        self.assertGreaterEqual(version, (2, 2))


class Parameters(unittest.TestCase):
    def test_a_list_and_the_string_that_sam_writes_have_the_same_result(self):
        by_hand = parameters.overrides({"parameter_overrides": ["Environment=staging", "BuildId=1764112500", "JwtIssuer=https://a.example/?b=c"]})
        by_sam = parameters.overrides({"parameter_overrides": 'Environment="staging" BuildId="1764112500" DeploymentAlarms="ignored" JwtIssuer="https://a.example/?b=c" RedisUrlSecretArn=""'})
        self.assertEqual(by_hand, {"Environment": "staging", "JwtIssuer": "https://a.example/?b=c"})
        self.assertEqual(by_sam, {**by_hand, "RedisUrlSecretArn": ""})

    def test_a_parameter_without_a_default_is_missing_until_given(self):
        template = {"Parameters": {"BuildId": {}, "VpcId": {}, "Environment": {"Default": "production"}}}
        self.assertEqual(parameters.missing(template, {}), ["VpcId"])
        self.assertEqual(parameters.missing(template, {"VpcId": "vpc-1"}), [])


class Zips(unittest.TestCase):
    def check(self, entries):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as errors:
            path = Path(folder) / "bootstrap.zip"
            with zipfile.ZipFile(path, "w") as archive:
                for name, content in entries.items():
                    archive.writestr(name, content)
            try:
                lambda_fit.main("arm64", str(path))
            except SystemExit:
                return errors.getvalue()
        return ""

    def test_a_zip_must_hold_one_program_named_bootstrap(self):
        self.assertEqual(self.check({"bootstrap": program()}), "")
        self.assertIn("not `bootstrap`", self.check({"health": program()}))
        self.assertIn("glibc 2.38", self.check({"bootstrap": program(glibc="2.38")}))

    def test_an_unzipped_program_is_checked_too(self):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.redirect_stderr(io.StringIO()):
            path = Path(folder) / "bootstrap"
            path.write_bytes(program())
            lambda_fit.main("arm64", str(path))
            path.write_bytes(program(X86_64))
            with self.assertRaises(SystemExit):
                lambda_fit.main("arm64", str(path))
        self.assertIn("2.34", shown.getvalue())

    def test_no_zip_is_an_error(self):
        with self.assertRaises(SystemExit), contextlib.redirect_stdout(io.StringIO()):
            lambda_fit.main("arm64")


if __name__ == "__main__":
    unittest.main()
