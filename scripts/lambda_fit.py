"""Whether programs, or zips of one, are functions that Lambda can load: lambda_fit.py <architecture> <file>…

Prints a line for each; ends with an error where one does not fit. Lambda's provided.al2023 has glibc 2.34, and a program that was
linked against a newer one does not start there, which nothing says before its first invocation.
"""

import re
import struct
import sys
import zipfile
import zlib
from pathlib import Path

GLIBC = (2, 34)
MACHINES = {"arm64": 183, "x86_64": 62}
# Lambda takes no larger zip; nothing here should come near it.
MOST_BYTES = 50 * 1024 * 1024


def faults(program, architecture):
    """What keeps the bytes of a program from running on such a machine."""
    if program[:6] != b"\x7fELF\x02\x01":
        return ["it is not a 64-bit ELF program"]
    (machine,) = struct.unpack_from("<H", program, 18)
    found = []
    if machine != MACHINES[architecture]:
        found.append(f"it is for machine {machine}, not for {architecture}")
    needs = glibc(program)
    if needs is None:
        found.append("it names no glibc")
    elif needs > GLIBC:
        found.append(f"it needs glibc {needs[0]}.{needs[1]}, and Lambda has {GLIBC[0]}.{GLIBC[1]}")
    return found


def glibc(program):
    """The newest version of glibc that a program names, which it does as text beside its symbols."""
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
                    wrong.append(f"it holds {names}, not `bootstrap`")
        else:
            program = path.read_bytes()
            zipped = len(zlib.compress(program))
        if program:
            wrong += faults(program, architecture)
        if zipped > MOST_BYTES:
            wrong.append("Lambda takes no larger zip than 50 MiB")
        newest = glibc(program)
        print(f"{path.parent.name:<28}{architecture:<14}{len(program) / 1e6:>7.2f} MB{zipped / 1e6:>7.2f} MB  {'.'.join(map(str, newest)) if newest else '-'}")
        for fault in wrong:
            print(f"error: {path}: {fault}", file=sys.stderr)
        unfit += bool(wrong)
    if not paths or unfit:
        raise SystemExit(f"{unfit} of {len(paths)} do not fit")


if __name__ == "__main__":
    main(*sys.argv[1:])
