"""Download of a folder from an fsspec file system: complete or not at all; a second attempt continues the first.

.<name>.fetching/listing.json     what is to be copied; another listing than the last time begins anew
.<name>.fetching/files/...        files that are whole
.<name>.fetching/current          the one that is arriving
<name>                            the copy, by a rename at the end
"""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass
import hashlib
import json
from pathlib import Path, PurePosixPath
import shutil
from typing import Any

from fsspec.callbacks import Callback
from tqdm import tqdm

from inspire_fast.core.files import write_text

SPARE_BYTES = 256 * 2**20  # left free on the disk
_VERSION_KEYS = ("md5Hash", "generation", "etag", "ETag", "mtime", "LastModified", "created")


class RefusedError(ValueError):
    """A copy that is not begun: the disk is too small, or a file would lie outside of it."""


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file at an address.

    Attributes:
        path: as its file system names it.
        name: below the address; empty where the address is the file itself.
        size: in bytes.
        md5: of the content, in base64 as Google tells it; None where it is not told.
        version: something that changes when the file does; empty where nothing is told.
    """

    path: str
    name: str
    size: int
    md5: str | None
    version: str


def list_files(system: Any, address: str) -> list[RemoteFile]:
    """Every file at or below the address.

    Raises:
        FileNotFoundError: there is none.
        RefusedError: a name leads out of the folder.
    """
    # fsspec's own function for what every path begins with.
    root = system._strip_protocol(address).rstrip("/")  # noqa: SLF001
    files = []
    for path, info in sorted(system.find(root, detail=True).items()):
        name = path[len(root) :].strip("/")
        if info["type"] == "directory" or path.endswith("/"):
            continue  # stores without folders keep an empty file for one
        if ".." in PurePosixPath(name).parts:
            raise RefusedError(f"{path!r} would be written outside of its folder.")
        version = next((str(info[key]) for key in _VERSION_KEYS if info.get(key)), "")
        files.append(RemoteFile(path=path, name=name, size=int(info["size"]), md5=info.get("md5Hash"), version=version))
    if not files:
        raise FileNotFoundError(f"there is nothing at {address}")
    return files


def copy_files(system: Any, files: list[RemoteFile], target: Path, *, name: str) -> None:
    """Makes `target` a copy of the files. See the module; one process at a time may do this.

    Args:
        system: of fsspec.
        files: see `list_files`.
        target: a folder, or a file where the only name is empty.
        name: for the progress bar and errors.

    Raises:
        RefusedError: the disk is too small.
        Exception: whatever the file system raises; OSError where a file arrives changed. The next attempt goes on from
            there.
    """
    around = target.with_name(f".{target.name}.fetching")
    current = around / "current"
    _begin(around, json.dumps([asdict(file) for file in files]))
    whole = {file: around / "files" / (file.name or target.name) for file in files}
    missing = [file for file, path in whole.items() if not path.is_file()]
    total, left = sum(file.size for file in files), sum(file.size for file in missing)
    _require_space(name, around, left)
    bar = tqdm(total=total, initial=total - left, desc=name, unit="B", unit_scale=True, unit_divisor=1024, disable=None)
    with bar:
        for file in missing:
            before = bar.n
            system.get_file(file.path, str(current), callback=_Bytes(bar))
            bar.update(before + file.size - bar.n)  # not every file system tells as it goes
            _require_same(file, current)
            whole[file].parent.mkdir(parents=True, exist_ok=True)
            current.replace(whole[file])
    is_file = [file.name for file in files] == [""]
    (around / "files" / target.name if is_file else around / "files").replace(target)
    shutil.rmtree(around)


def _begin(around: Path, listing: str) -> None:
    """The folder of a copy in the making: an earlier one of the same files, else an empty one."""
    stored = around / "listing.json"
    if not stored.is_file() or stored.read_text(encoding="utf-8") != listing:
        shutil.rmtree(around, ignore_errors=True)
        (around / "files").mkdir(parents=True)
        write_text(stored, listing)
    (around / "current").unlink(missing_ok=True)


class _Bytes(Callback):
    """Moves a progress bar along with what has arrived."""

    def __init__(self, bar: tqdm) -> None:
        super().__init__()
        self._bar = bar

    def relative_update(self, inc: int = 1) -> None:
        """More bytes have arrived."""
        self._bar.update(inc)


def _require_same(file: RemoteFile, copy: Path) -> None:
    """Raises OSError where the copy is not the file."""
    if (size := copy.stat().st_size) != file.size:
        raise OSError(f"{file.path} arrived with {size:,} bytes of {file.size:,}")
    if file.md5 is not None:
        with copy.open("rb") as content:
            digest = base64.b64encode(hashlib.file_digest(content, "md5").digest()).decode()
        if digest != file.md5:
            raise OSError(f"{file.path} arrived with the checksum {digest} (MD5) instead of {file.md5}")


def _require_space(name: str, folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + SPARE_BYTES:
        raise RefusedError(
            f"{name}: {size / 1e9:.1f} GB are to be downloaded, and {folder} is on a disk with {free / 1e9:.1f} GB "
            "free. Make room, or put openpi's cache on another disk: the variable OPENPI_DATA_HOME (--cache-dir when "
            "serving)."
        )
