"""Files and folders that appear under their final name only when they are complete."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
import fcntl
from pathlib import Path
import shutil
import tempfile


class StagedFolder:
    """A hidden sibling folder `.<name>.partial` that `commit` renames to its final name.

    A process that dies leaves only the hidden folder, which the next writer of the same name clears away; a lock tells
    it from the folder of a writer that is still running.

    Args:
        final: the name it shall have.
        overwrite: replace what is there at commit.

    Raises:
        FileExistsError: `final` exists, is not empty and `overwrite` is off; or another process is writing it.
    """

    def __init__(self, final: Path, *, overwrite: bool) -> None:
        self.final = final
        if not overwrite and final.exists() and (not final.is_dir() or any(final.iterdir())):
            raise FileExistsError(
                f"{final} exists and is not empty; choose another folder, remove this one, or have it replaced (`overwrite`; "
                "scripts/convert_dataset.py takes --storage.overwrite)."
            )
        self.path = final.with_name(f".{final.name}.partial")
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = (self.path / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise FileExistsError(f"Another process is writing {final} (it holds {self.path / '.lock'}).") from error
        for left_over in self.path.iterdir():
            if left_over.is_dir():
                shutil.rmtree(left_over)
            elif left_over.name != ".lock":
                left_over.unlink()

    def commit(self) -> None:
        """Gives the folder its final name; what was there is removed only then."""
        replaced = self.final.with_name(f".{self.final.name}.replaced")
        if replaced.exists():
            shutil.rmtree(replaced)
        if self.final.exists():
            self.final.rename(replaced)
        (self.path / ".lock").unlink()
        self.path.rename(self.final)
        self._lock.close()
        shutil.rmtree(replaced, ignore_errors=True)

    def discard(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


@contextmanager
def new_folder(out: Path) -> Generator[Path]:
    """A folder to write into, which becomes `out` when the block ends; nothing is left behind by one that fails.

    Raises:
        FileExistsError: `out` exists.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists; choose another folder, or delete it first.")
    out.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own, so that nobody else's folder is written into or removed; `out` keeps a folder's usual permissions.
    around = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.partial-"))
    partial = around / out.name
    partial.mkdir()
    try:
        yield partial
        partial.replace(out)
    finally:
        shutil.rmtree(around, ignore_errors=True)


def place(source: Path, target: Path, *, copy: bool = False) -> None:
    """Gives `target` the files below `source`, as hard links: no space is used, and neither folder depends on the other.

    Checkpoints are written once and never changed, so a shared file stays what it is. Where the file system cannot link
    (another disk), and with `copy`, files are copied. `source` is not touched.
    """
    for file in sorted(p for p in source.rglob("*") if p.is_file()):
        placed = target / file.relative_to(source)
        placed.parent.mkdir(parents=True, exist_ok=True)
        if copy or not _linked(file, placed):
            shutil.copyfile(file, placed)


def _linked(file: Path, placed: Path) -> bool:
    try:
        placed.hardlink_to(file.resolve())
    except OSError:
        return False
    return True
