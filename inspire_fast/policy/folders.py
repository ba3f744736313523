"""Checkpoint folders that appear whole or not at all, and share their files with the ones that they were made from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
import shutil
import tempfile


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
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
