"""Folders that appear under their final name only when they are complete."""

from __future__ import annotations

import fcntl
from pathlib import Path
import shutil


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
