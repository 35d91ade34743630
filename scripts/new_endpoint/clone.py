"""Changes to the files of this clone. All changes are computed in memory first, and then written together.

A change finds its place by an anchor, which is a text in the file. A line number would be wrong after the next commit. If an anchor is
missing, the error contains the file and the anchor."""

from functools import partial
from pathlib import Path

from endpoint import Refused

ROOT = Path(__file__).resolve().parents[2]


class Clone:
    def __init__(self, root=ROOT):
        self.root = root
        self.texts = {}
        self.reasons = {}

    def exists(self, path):
        return (self.root / path).exists()

    def read(self, path):
        """Returns the text of a file, with the changes so far."""
        if path not in self.texts:
            try:
                self.texts[path] = (self.root / path).read_text(encoding="utf-8")
            except OSError as error:
                raise Refused(f"{path} cannot be read: {error.strerror}") from error
        return self.texts[path]

    def create(self, path, text):
        self.texts[path] = text
        self.reasons[path] = "new"

    def change(self, path, text, reason):
        self.texts[path] = text
        self.reasons[path] = reason

    def find(self, path, anchor, start=0):
        at = self.read(path).find(anchor, start)
        if at < 0:
            raise missing(path, anchor)
        return at

    def insert_before(self, path, anchor, text, reason, after=""):
        """Inserts `text` before the first `anchor` that follows the text `after`."""
        whole = self.read(path)
        at = self.find(path, anchor, self.find(path, after) + len(after))
        self.change(path, whole[:at] + text + whole[at:], reason)

    def write(self):
        """Writes all changes. If one fails, or the command is interrupted, all files are as before."""
        undo = []
        try:
            for path in self.reasons:
                file = self.root / path
                for folder in reversed([folder for folder in file.parents if not folder.exists()]):
                    folder.mkdir()
                    undo.append(folder.rmdir)
                before = file.read_bytes() if file.exists() else None
                # The undo step is added after the file is opened, because a file that cannot be opened is not changed.
                with file.open("r+b" if file.exists() else "xb") as target:
                    undo.append(partial(restore, file, before))
                    target.truncate()
                    target.write(self.texts[path].encode())
        except BaseException as error:
            for step in reversed(undo):
                step()
            if isinstance(error, OSError):
                raise Refused(f"{error.filename} cannot be written: {error.strerror}; all files are as before") from error
            raise


def restore(file, before):
    """Restores the former content of a file. `None` means that there was no file."""
    if before is None:
        file.unlink()
    else:
        file.write_bytes(before)


def missing(path, anchor):
    text = " ".join(anchor.split())
    return Refused(f"{path} has no `{text}`, where the endpoint is inserted; restore that text, or add the endpoint by hand (docs/adding-an-endpoint.md)")
