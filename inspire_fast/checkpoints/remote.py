"""Checkpoints by address (`gs://bucket/path` and others of fsspec, copied once into openpi's cache) and by name.

Those at `hf://org/name` are in huggingface_hub's own cache (`core/hub.py`).

The cache is laid out as openpi lays it out, and locked as openpi locks it, so the two share their copies:

    <cache>/bucket/path                 the copy; it appears whole or not at all
    <cache>/bucket/path.lock            held while one process downloads (`openpi.shared.download` takes the same one)
    <cache>/bucket/.path.fetching/      a copy in the making; see `download`
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
import fcntl
import logging
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fsspec

from inspire_fast.checkpoints.download import RefusedError, copy_files, list_files
from inspire_fast.core import hub
from inspire_fast.core.files import expanded, openpi_home
from inspire_fast.core.hub import is_hub_address

logger = logging.getLogger(__name__)

_FOLDER = Path(__file__).parents[1] / "shipped"
SHIPPED: Mapping[str, Path] = {name: _FOLDER / name for name in ("inspire_acting", "st4vla_ground")}
"""Folder of every checkpoint that comes with the package, by name."""


def is_address(source: str | Path) -> bool:
    """Whether this is `scheme://...` and not a path. A `Path` never is: `Path("gs://a")` has lost a slash."""
    return isinstance(source, str) and "://" in source


def local_path(source: str | Path, cache_dir: Path | None = None) -> Path:
    """A path as it is, without `~`; the local copy of an address; a shipped checkpoint by its name.

    What `init_from` and `--policy.dir` mean. A folder comes before a shipped checkpoint of the same name.

    Raises:
        FileNotFoundError, ValueError: see `fetch` and `core.hub.fetch`. That a path exists is not checked.
    """
    if is_hub_address(source):
        return hub.fetch(source)
    if is_address(source):
        return fetch(str(source), cache_dir)
    path = expanded(source)
    return path if path.exists() else SHIPPED.get(str(source), path)


def cached_path(address: str, cache_dir: Path | None = None) -> Path:
    """Where openpi's cache keeps a copy of an address; there may be none yet.

    Args:
        address: `scheme://bucket/path`.
        cache_dir: of openpi; None is `OPENPI_DATA_HOME`, or `~/.cache/openpi`.
    """
    parts = urlsplit(address)
    cache = cache_dir or openpi_home()
    path = cache / parts.netloc / parts.path.strip("/")
    if ".." in path.parts or path == cache:
        raise ValueError(f"{address!r} names no folder in a bucket: expected scheme://bucket/path.")
    return path


def fetch(address: str, cache_dir: Path | None = None) -> Path:
    """The local copy of a folder or a file at an address, downloaded if missing; Google's buckets are read anonymously.

    Several processes may ask for the same address: one downloads, the others wait for it.

    Raises:
        FileNotFoundError: nothing is there, it cannot be reached, or the package for it is missing; says what to do.
        ValueError: not an address that fsspec knows, or the disk is too small.
    """
    target = cached_path(address, cache_dir)
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target):
        if target.exists():  # by now
            return target
        system = _file_system(address, target)
        logger.info("Fetching %s into %s.", address, target)
        try:
            copy_files(system, list_files(system, address), target, name=address)
        except RefusedError:
            raise
        except Exception as error:  # what a file system raises when it cannot be reached is its own affair
            raise FileNotFoundError(
                f"{address} is not in openpi's cache ({target}) and could not be downloaded: {type(error).__name__}: "
                f"{error}. Try again (what has arrived is kept), {_by_hand(address, target)}"
            ) from error
    return target


def _file_system(address: str, target: Path) -> Any:
    scheme = urlsplit(address).scheme
    try:
        if scheme in ("gs", "gcs"):
            # Not the class that fsspec gives: that one asks for a bucket's kind through gRPC, which needs credentials.
            from gcsfs.core import GCSFileSystem  # pyright: ignore[reportMissingImports]

            logging.getLogger("gcsfs").setLevel(
                logging.CRITICAL
            )  # a traceback for each failed attempt; ours tells the last
            return GCSFileSystem(token="anon")
        return fsspec.filesystem(scheme)
    except ImportError as error:
        need = (
            "Add it with `uv sync --extra gcs`"
            if scheme in ("gs", "gcs")
            else f"Install what fsspec asks for ({error})"
        )
        raise FileNotFoundError(
            f"{address} is not in openpi's cache ({target}), and the package that could download it is not installed. "
            f"{need}; " + _by_hand(address, target)
        ) from error
    except ValueError as error:
        raise ValueError(
            f"{address!r}: {error}. Addresses are those of fsspec, gs://bucket/path for instance."
        ) from error


def _by_hand(address: str, target: Path) -> str:
    return (
        f"or download it on a machine with access, for instance with `gsutil -m cp -r {address} {target.parent}/`; or "
        "say where openpi's cache is: --cache-dir when serving, or the variable OPENPI_DATA_HOME."
    )


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Holds openpi's lock of a copy; waits for another process that does."""
    lock = target.with_suffix(".lock")
    with lock.open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("Another process is fetching %s; waiting for it (%s).", target, lock)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
