#!/usr/bin/env python3
"""Looks up every package of every lock file in OSV, which collects the advisories of RustSec, PyPA and GitHub (npm, Maven).

OSV covers all lock files and needs no tool: https://google.github.io/osv.dev/post-v1-querybatch/
The script also looks up packages that no target builds, because a lock file does not show which packages are built.
"""

import argparse
import datetime
import http.client
import json
import os
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

OSV = "https://api.osv.dev"
ROOT = Path(__file__).resolve().parent.parent

# Accepted advisories: id -> (last day, reason). After the last day, the script fails again because of the advisory. OSV lists some
# advisories under two ids (RUSTSEC-… and GHSA-…). Then each id needs an entry.
ACCEPTED = {}

# The Maven group of a jar, by the first word of the jar's name. The list of jars does not contain the groups.
MAVEN_GROUPS = {"mongo": "de.bwaldvogel", "netty": "io.netty", "slf4j": "org.slf4j"}

# OSV accepts at most 1000 queries in one request.
BATCH = 500


class Package(NamedTuple):
    ecosystem: str
    name: str
    version: str


class Unreachable(Exception):
    """Raised if OSV did not answer. The packages are then unchecked."""


class Failed(Exception):
    """Raised if the script cannot parse a lock file or an answer of OSV."""


def cargo_lock(text):
    for entry in text.split("[[package]]")[1:]:
        fields = dict(re.findall(r'^(name|version|source) = "([^"]+)"$', entry, re.MULTILINE))
        # Crates of the workspace have no source.
        if "source" in fields:
            yield Package("crates.io", fields["name"], fields["version"])


def package_lock(text):
    for path, entry in json.loads(text)["packages"].items():
        # The empty path is the project itself.
        if path:
            yield Package("npm", entry.get("name", path.rpartition("node_modules/")[2]), entry["version"])


def requirements(text):
    for line in text.splitlines():
        if not line or line[0] in " #":
            continue
        pinned = re.match(r"([\w.-]+)(?:\[[^\]]*\])?==([^\s;]+)", line)
        if not pinned:
            raise Failed(f"requirement without an exact version: `{line}`")
        yield Package("PyPI", *pinned.groups())


def jars(text):
    for line in text.splitlines():
        parts = re.match(r"[0-9a-f]{64}  (([a-z0-9]+)[a-z-]*)-(\d[\w.]*)\.jar$", line)
        if not parts or parts[2] not in MAVEN_GROUPS:
            raise Failed(f"not a jar of a known Maven group: `{line}`")
        yield Package("Maven", f"{MAVEN_GROUPS[parts[2]]}:{parts[1]}", parts[3])


def reader(path):
    """The parser for the lock file at `path`, or None if it is not a lock file."""
    if path.parent.name == "locks" and path.suffix == ".txt":
        return requirements
    return {
        "Cargo.lock": cargo_lock,
        "jars.sha256": jars,
        "package-lock.json": package_lock,
        "requirements.txt": requirements,
    }.get(path.name)


def locked(root):
    """All packages of all lock files under `root`, each with the files that list it."""
    found = {}
    for folder, folders, files in os.walk(root):
        # Skips build output and hidden folders.
        folders[:] = [name for name in folders if name not in ("target", "node_modules") and not name.startswith(".")]
        for file in map(Path(folder).joinpath, files):
            read = reader(file)
            if read is None:
                continue
            packages = set(read(file.read_text()))
            if not packages:
                raise Failed(f"{file} has no packages")
            for package in packages:
                found.setdefault(package, []).append(str(file.relative_to(root)))
    if not found:
        raise Failed(f"no lock file in {root}")
    return found


def ask(osv, queries, timeout):
    """Returns for each query, in order, the ids of its advisories, and the token of the next page or None."""
    body = json.dumps({"queries": queries}).encode()
    request = urllib.request.Request(f"{osv}/v1/querybatch", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            answer = response.read()
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 429 or error.code >= 500:
            raise Unreachable(f"{osv} answered {error.code}") from error
        # OSV rejected the request, so a retry would fail too.
        raise Failed(f"{osv} answered {error.code}") from error
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"{osv}: {error}") from error
    try:
        results = json.loads(answer)["results"]
        answers = [([found["id"] for found in result.get("vulns") or []], result.get("next_page_token")) for result in results]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failed(f"{osv} answered no results: {answer[:200]!r}") from error
    if len(answers) != len(queries):
        raise Failed(f"{osv} answered {len(answers)} of {len(queries)} queries")
    return answers


def look_up(packages, osv, timeout):
    """Returns the ids of each package's advisories, and the error that ended the look-up early or None. Both can be set."""
    found = {}
    waiting = [
        (package, {"package": {"ecosystem": package.ecosystem, "name": package.name}, "version": package.version})
        for package in sorted(packages)
    ]
    while waiting:
        batch, waiting = waiting[:BATCH], waiting[BATCH:]
        try:
            answers = ask(osv, [query for _, query in batch], timeout)
        except (Unreachable, Failed) as error:
            return found, error
        for (package, query), (ids, next_page) in zip(batch, answers):
            if ids:
                found.setdefault(package, set()).update(ids)
            if next_page:
                waiting.append((package, {**query, "page_token": next_page}))
    return found, None


def not_accepted(advisory, today):
    """The reason why the advisory fails the script, or None if it is accepted."""
    if advisory not in ACCEPTED:
        return f"https://osv.dev/vulnerability/{advisory}"
    last_day, reason = ACCEPTED[advisory]
    return None if today <= last_day else f"https://osv.dev/vulnerability/{advisory}, accepted until {last_day}: {reason}"


def main(arguments, root=ROOT, osv=OSV):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--if-reachable", action="store_true", help="succeed if OSV does not answer")
    if_reachable = parser.parse_args(arguments).if_reachable

    try:
        packages = locked(root)
    except Failed as error:
        print(f"advisories not looked up: {error}", file=sys.stderr)
        return 1
    # With --if-reachable the script succeeds without an answer of OSV, so the timeout is short.
    found, error = look_up(packages, osv, timeout=5 if if_reachable else 60)

    count = 0
    for package, advisories in sorted(found.items()):
        for why in filter(None, (not_accepted(advisory, datetime.date.today()) for advisory in sorted(advisories))):
            print(f"{package.name} {package.version} ({', '.join(sorted(packages[package]))}): {why}", file=sys.stderr)
            count += 1
    if count:
        print(f"{count} known vulnerabilities", file=sys.stderr)
        return 1
    if isinstance(error, Unreachable) and if_reachable:
        print(f"advisories not looked up, ignored because of --if-reachable: {error}")
        return 0
    if error:
        print(f"advisories not looked up: {error}", file=sys.stderr)
        return 1
    print(f"no known vulnerability in {len(packages)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
