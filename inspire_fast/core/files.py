"""Atomic files and folders, written under a hidden name and renamed when complete; and JSON lines.

The hidden name of `name` is `.name.partial`, or `.name.2.partial` while another process writes the same file. The
writer holds a lock on it: the lock tells files of running writers from left-overs of killed ones, which the next
writer of the same name reuses. A killed process leaves the old file or none. Only JSON lines are synced to the disk.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator
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
    """Opens a binary file that becomes `path` when the block ends, and is removed if the block fails.

    Writers that need a path instead of a stream use `Path(stream.name)`. Missing parent folders are created. If two
    processes write the same file, the last to finish wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, lock = _lock_hidden_file(path)
    try:
        with partial.open("wb") as stream:  # before the rename: some file systems report a full disk at closing
            yield stream
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    finally:
        os.close(lock)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes or replaces a file."""
    with open_atomic(path) as stream:
        stream.write(data)


def read_text(path: Path) -> str:
    """Text of a UTF-8 file, without the byte order mark that some editors put in front.

    Raises:
        ValueError: it is no UTF-8; names the file and the place.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"byte {error.object[error.start]:#04x} at {error.start}"
        raise ValueError(f"{path} is not UTF-8 text ({found}); save it as UTF-8.") from error


def write_text(path: Path, text: str) -> None:
    """Writes or replaces a file with UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any, *, indent: int | None = 2) -> None:
    """Writes or replaces a file with a JSON value and a final newline."""
    write_text(path, json.dumps(value, indent=indent) + "\n")


def append_json_line(path: Path, value: Any) -> None:
    """Appends a JSON value as one line and syncs the file; first cuts off an incomplete line of a killed process.

    Raises:
        OSError: the disk is full; earlier lines stay readable.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        end = _end_of_last_line(file)
        file.truncate(end)
        file.seek(end)
        file.write(json.dumps(value).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """Lines that are not blank, and their numbers from 1; a line feed alone ends a line.

    `str.splitlines` also cuts at U+2028, U+2029 and U+0085, which may stand in the texts of JSON.
    """
    return [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]


def openpi_home() -> Path:
    """openpi's folder for downloads: `OPENPI_DATA_HOME`, or `~/.cache/openpi`.

    Raises:
        FileNotFoundError: the user has no home directory; names the variable.
    """
    return folder_of_user("OPENPI_DATA_HOME", "~/.cache/openpi")


def folder_of_user(variable: str, default: str) -> Path:
    """The folder that a variable of the environment names, else one below the home directory.

    Raises:
        FileNotFoundError: the user has no home directory; names the variable.
    """
    try:
        return Path(os.environ.get(variable) or default).expanduser()
    except RuntimeError as error:
        raise FileNotFoundError(
            f"This user has no home directory to keep downloads in; set {variable} to a folder for them."
        ) from error


def expanded(path: str | Path) -> Path:
    """A path without `~`.

    Raises:
        FileNotFoundError: it begins with `~` or `~name`, and there is no such home directory.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise FileNotFoundError(f"{path}: there is no such home directory; write the whole path.") from error


def read_json_lines(path: Path) -> list[Any]:
    """Reads the complete lines of a file; a missing file has none.

    Raises:
        ValueError: a line is not JSON; names the file and the line.
    """
    values: list[Any] = []
    text = read_text(path) if path.exists() else ""
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        try:
            values.append(json.loads(line))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: not a JSON object, {error}: {line:.80}") from error
    return values


def lock_folder(folder: Path, doing: str) -> IO[str]:
    """Locks a folder against other processes until the returned file is closed or the process ends.

    Args:
        folder: created if it is missing.
        doing: what this process does to it, for the message of others: "evaluates into".

    Raises:
        FileExistsError: another process has locked it.
        OSError: the file system has no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / _LOCK).open("w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise FileExistsError(
            f"Another process {doing} {folder}; wait until it has ended, or choose another folder."
        ) from error
    except OSError:
        lock.close()
        raise
    return lock


class StagedFolder:
    """A folder that appears under its final name when it is complete.

        with StagedFolder(final) as folder:
            write_text(folder / "file", text)

    Attributes:
        final: the final path.
        path: the hidden folder to write into.

    Args:
        final: see above.
        replaces: replace an existing folder at commit, see `require_unused`.

    Raises:
        FileExistsError: `final` is in use, see `require_unused`; or another process writes it.
    """

    def __init__(self, final: Path, *, replaces: Collection[str] = ()) -> None:
        self.final = final
        require_unused(final, replaces=replaces)
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
            self.discard()  # does nothing after a commit

    def commit(self) -> None:
        """Gives the folder its final name, and removes the replaced one after that."""
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


def require_folder_name(what: str, name: str) -> None:
    """Checks that a name, which becomes part of a path, is one plain folder.

    Raises:
        ValueError: it is empty, hidden, `.` or `..`, or has a separator, an outer space or a control character.
    """
    if not name.isprintable() or name != name.strip() or name.startswith(".") or not name or set(name) & set("/\\:"):
        raise ValueError(
            f"{what} must be the name of one folder, without '/', '\\', ':' and without a dot in front; got {name!r}. "
            "Give a word such as 'first'."
        )


def require_unused(
    folder: Path, *, replaces: Collection[str] = (), hint: str = "choose another folder, or delete it first"
) -> None:
    """Checks that a folder may be written: it is missing or empty, or it may be replaced.

    Args:
        folder: to be written.
        replaces: patterns of files, of which a folder that may be replaced holds one. Nothing else is ever removed.
        hint: what to do, the end of the message.

    Raises:
        FileExistsError: it is in use, or it holds something else than what may be replaced.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not replaces:
        raise FileExistsError(f"{folder} exists and is not empty; {hint}.")
    if not folder.is_dir() or not any(any(folder.glob(pattern)) for pattern in replaces):
        held = sorted(path.name for path in folder.iterdir())[:8] if folder.is_dir() else "a file"
        raise FileExistsError(
            f"{folder} is not replaced, because it holds none of {', '.join(replaces)}: something else wrote it. It "
            f"holds {held}. Choose another folder, or delete it yourself."
        )


def place(source: Path, target: Path, *, copy: bool = False) -> None:
    """Puts the files of `source` into `target` as hard links, which take no space and keep the folders independent.

    Checkpoints never change after they are written, so files can be shared. Files are copied with `copy`, and if the
    file system cannot link them (another disk).
    """
    for file in sorted(p for p in source.rglob("*") if p.is_file()):
        placed = target / file.relative_to(source)
        placed.parent.mkdir(parents=True, exist_ok=True)
        if copy or not _linked(file, placed):
            shutil.copyfile(file, placed)


def _end_of_last_line(file: IO[bytes], block: int = 1 << 16) -> int:
    """Position after the last newline; reads only the end of the file."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - block)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


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
            continue  # a folder of another program
        if (lock := _lock(partial / _LOCK)) is None:
            raise FileExistsError(f"Another process is writing {final} (it holds {partial / _LOCK}).")
        return partial, lock
    raise AssertionError


def _lock(file: Path) -> int | None:
    """A descriptor that holds the lock of `file`, created if missing; None while another process holds the lock."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:  # no locks on this file system: assume that no other process writes here
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
