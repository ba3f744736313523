"""Atomic files and folders: written under a hidden name, renamed when complete.

The hidden name of `name` is `.name.partial` (`.name.2.partial` while another process writes the same file). Its writer holds a
lock on it, so what a killed process left is told from what a running one writes, and the next writer of the same name
takes it over. Nothing is synced to the disk: the promise is about processes that die, not about power cuts.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
import fcntl
import itertools
import json
import os
from pathlib import Path
import shutil
from typing import IO, Any

_LOCK = ".lock"


@contextmanager
def open_atomic(path: Path) -> Generator[IO[bytes]]:
    """A binary file that becomes `path` when the block ends, and is removed when the block fails.

    What needs a path instead of a stream writes to `Path(stream.name)`. Folders above `path` are made. Of two processes
    that write the same file, the last to finish wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, lock = _lock_hidden_file(path)
    try:
        with partial.open("wb") as stream:  # closed before the rename: some file systems report a full disk only then
            yield stream
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    finally:
        os.close(lock)


def write_bytes(path: Path, data: bytes) -> None:
    """Replaces a file."""
    with open_atomic(path) as stream:
        stream.write(data)


def write_text(path: Path, text: str) -> None:
    """Replaces a file with UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any, *, indent: int | None = 2) -> None:
    """Replaces a file with a JSON value and a final newline."""
    write_text(path, json.dumps(value, indent=indent) + "\n")


class StagedFolder:
    """A folder that appears under its final name when it is complete.

        with StagedFolder(final) as folder:
            write_text(folder / "file", text)

    Attributes:
        final: the name it will have.
        path: the hidden folder to write into.

    Args:
        final: see above.
        overwrite: replace what is there at commit.

    Raises:
        FileExistsError: `final` exists, is not an empty folder and `overwrite` is off; or another process is writing it.
    """

    def __init__(self, final: Path, *, overwrite: bool = False) -> None:
        self.final = final
        require_unused(final, overwrite=overwrite)
        self.path, lock = _lock_hidden_folder(final)
        self._lock: int | None = lock
        for left_over in self.path.iterdir():
            if left_over.is_dir():
                shutil.rmtree(left_over)
            elif left_over.name != _LOCK:
                left_over.unlink()

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, kind: object, _error: object, _trace: object) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            self.discard()  # after a commit, nothing is there to be removed

    def commit(self) -> None:
        """Gives the folder its final name; what was there is removed only then."""
        replaced = self.final.with_name(f".{self.final.name}.replaced")
        if replaced.exists():
            shutil.rmtree(replaced)
        if self.final.exists():
            self.final.rename(replaced)
        self.path.rename(self.final)
        (self.final / _LOCK).unlink()
        self._unlock()
        shutil.rmtree(replaced, ignore_errors=True)

    def discard(self) -> None:
        """Removes the folder."""
        if self._lock is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def require_unused(
    folder: Path, *, overwrite: bool = False, hint: str = "choose another folder, or delete it first"
) -> None:
    """Raises FileExistsError unless `folder` is missing, empty or to be overwritten; `hint` says what to do."""
    if not overwrite and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not empty; {hint}.")


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


def _hidden_names(final: Path) -> Iterator[Path]:
    yield final.with_name(f".{final.name}.partial")
    for number in itertools.count(2):
        yield final.with_name(f".{final.name}.{number}.partial")


def _lock_hidden_file(final: Path) -> tuple[Path, int]:
    """The first hidden file that no other process writes, and the descriptor that holds its lock."""
    for partial in _hidden_names(final):
        if not partial.is_dir() and (lock := _lock(partial)) is not None:
            return partial, lock
    raise AssertionError


def _lock_hidden_folder(final: Path) -> tuple[Path, int]:
    for partial in _hidden_names(final):
        partial.mkdir(parents=True, exist_ok=True)
        if not (partial / _LOCK).exists() and any(partial.iterdir()):
            continue  # not made here
        if (lock := _lock(partial / _LOCK)) is None:
            raise FileExistsError(f"Another process is writing {final} (it holds {partial / _LOCK}).")
        return partial, lock
    raise AssertionError


def _lock(file: Path) -> int | None:
    """A descriptor that holds the lock of `file`, which is made if it is missing; None while another process holds it."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:  # a file system without locks; nobody else is assumed to write there
            return descriptor
        # Its last writer may have renamed it between the two calls above.
        if _names(file, descriptor):
            return descriptor
        os.close(descriptor)


def _names(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
