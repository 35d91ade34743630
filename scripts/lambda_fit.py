"""Checks whether Lambda can load programs or zips of programs: lambda_fit.py <architecture> <file>…

Prints a line per file, and fails if Lambda cannot load a file. Lambda's runtime provided.al2023 has glibc 2.34. A program linked against a
newer glibc can be deployed, but fails at its first invocation. So this script checks the version of glibc before the deployment.
"""

import re
import struct
import sys
import zipfile
import zlib
from pathlib import Path

GLIBC = (2, 34)
MACHINES = {"arm64": 183, "x86_64": 62}
# Lambda's limit for an uploaded zip.
MOST_BYTES = 50 * 1024 * 1024


def faults(program, architecture):
    """The reasons why a program does not run on Lambda with this architecture."""
    if program[:6] != b"\x7fELF\x02\x01":
        return ["not a 64-bit ELF program"]
    (machine,) = struct.unpack_from("<H", program, 18)
    found = []
    if machine != MACHINES[architecture]:
        found.append(f"built for ELF machine {machine}, not for {architecture}")
    needs = glibc(program)
    if needs is None:
        found.append("not linked against glibc")
    elif needs > GLIBC:
        found.append(f"requires glibc {needs[0]}.{needs[1]}, but Lambda has {GLIBC[0]}.{GLIBC[1]}")
    return found


def glibc(program):
    """Returns the newest version of glibc that a program requires. An ELF file contains these versions as text."""
    versions = [tuple(map(int, each)) for each in re.findall(rb"GLIBC_(\d+)\.(\d+)", program)]
    return max(versions, default=None)


def main(architecture, *paths):
    unfit = 0
    print(f"{'function':<28}{'architecture':<14}{'program':>10}{'zip':>10}  glibc")
    for path in map(Path, paths):
        wrong, program, zipped = [], b"", path.stat().st_size
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                if names == ["bootstrap"]:
                    program = archive.read("bootstrap")
                else:
                    wrong.append(f"the zip contains {names}, not `bootstrap`")
        else:
            program = path.read_bytes()
            zipped = len(zlib.compress(program))
        if program:
            wrong += faults(program, architecture)
        if zipped > MOST_BYTES:
            wrong.append("the zip is larger than Lambda's limit of 50 MiB")
        newest = glibc(program)
        print(f"{path.parent.name:<28}{architecture:<14}{len(program) / 1e6:>7.2f} MB{zipped / 1e6:>7.2f} MB  {'.'.join(map(str, newest)) if newest else '-'}")
        for fault in wrong:
            print(f"error: {path}: {fault}", file=sys.stderr)
        unfit += bool(wrong)
    if not paths or unfit:
        raise SystemExit(f"Lambda cannot load {unfit} of {len(paths)} functions")


if __name__ == "__main__":
    main(*sys.argv[1:])
