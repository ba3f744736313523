"""Hugging Face Hub: `hf://` addresses of models and datasets, downloaded once, and uploads of folders.

    hf://org/name                    the default branch
    hf://org/name@v1.0               a branch, a tag, or a commit (40 hexadecimal digits), which never changes
    hf://org/name@v1.0/some/folder   a folder of the repository

A copy in huggingface_hub's cache is used without asking the network: what was downloaded once stays the same until it
is refreshed. Every file is compared with the checksum that the hub gave. Tokens come from `HF_TOKEN` or `hf auth
login`; they never reach a log or a message.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
import contextlib
from dataclasses import dataclass
import hashlib
import logging
from pathlib import Path, PurePosixPath
import re
from typing import Any, Literal

logger = logging.getLogger(__name__)

Kind = Literal["model", "dataset"]
_ADDRESS = re.compile(r"hf:/{1,2}(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/\s]+))?(?:/(?P<folder>\S*))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class HubAddress:
    """Parts of an `hf://` address.

    Attributes:
        repo: `org/name`.
        revision: branch, tag or commit; None is the default branch.
        folder: below the repository's root; empty for all of it.
    """

    repo: str
    revision: str | None = None
    folder: str = ""

    @classmethod
    def parse(cls, address: str) -> HubAddress:
        """Parts of an address; `hf:/org/name` is understood, too, since `Path("hf://org/name")` is that.

        Raises:
            ValueError: another form.
        """
        match = _ADDRESS.fullmatch(address)
        folder = (match["folder"] or "").strip("/") if match else ""
        if match is None or ".." in PurePosixPath(folder).parts:
            raise ValueError(
                f"{address!r} is no address of the hub. Expected hf://org/name, hf://org/name@revision, or "
                "hf://org/name@revision/folder."
            )
        return cls(repo=match["repo"], revision=match["revision"], folder=folder)

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"hf://{self.repo}{revision}" + (f"/{self.folder}" if self.folder else "")


def is_hub_address(source: str | Path) -> bool:
    """Whether this is `hf://...`, as text or as a path, which has lost a slash."""
    return str(source).startswith("hf:/")


def local_dataset(root: str | Path) -> Path:
    """A dataset's folder: a path as it is, an `hf://` address as `fetch` has it."""
    return fetch(root, "dataset") if is_hub_address(root) else Path(root)


def fetch(address: str | Path, kind: Kind = "model", *, refresh: bool = False) -> Path:
    """The local copy of a repository or of a folder in it; downloaded if it is not in the cache.

    An interrupted download goes on where it stopped.

    Args:
        address: `hf://...`; see the module.
        kind: of the repository.
        refresh: ask the hub although there is a copy.

    Raises:
        ValueError: no such form of an address.
        FileNotFoundError: the repository, revision or folder does not exist, may not be read, cannot be reached, or a
            file arrived damaged; says what to do.
    """
    wanted = HubAddress.parse(str(address))
    if not refresh and (copy := _cached(wanted, kind)) is not None:
        return copy
    hub = _hub(wanted)
    with _explained(wanted, kind):
        pattern = f"{wanted.folder}/**" if wanted.folder else None
        folder = Path(
            hub.snapshot_download(wanted.repo, repo_type=kind, revision=wanted.revision, allow_patterns=pattern)
        )
    _require_checksums(wanted, folder)
    if not _COMMIT.fullmatch(wanted.revision or ""):
        logger.info("%s is commit %s; %s@%s pins it.", wanted, folder.name, f"hf://{wanted.repo}", folder.name)
    return _below(folder, wanted)


def upload(
    files: Mapping[str, Path | bytes], repo: str, kind: Kind = "model", *, private: bool = True, message: str
) -> str:
    """Uploads files as one commit, into a repository that is made if it is missing.

    Args:
        files: path in the repository -> the file, or its content.
        repo: `org/name`.
        kind: of the repository.
        private: of a repository that is made.
        message: of the commit.

    Returns:
        the address with the commit, `hf://org/name@<commit>`.

    Raises:
        ValueError: not of the form `org/name`.
        FileNotFoundError: no permission, or the hub cannot be reached; says what to do.
    """
    wanted = HubAddress.parse(f"hf://{repo}")
    hub = _hub(wanted)
    operations = [hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=file) for name, file in files.items()]
    with _explained(wanted, kind):
        api = hub.HfApi()
        api.create_repo(repo, repo_type=kind, private=private, exist_ok=True)
        commit = api.create_commit(repo, operations, commit_message=message, repo_type=kind)
    return f"hf://{repo}@{commit.oid}"


def _hub(wanted: HubAddress) -> Any:
    try:
        import huggingface_hub  # not part of the base install
    except ImportError as error:
        raise ImportError(
            f"{wanted} needs the package huggingface_hub. Add the extra `train`: `pip install 'inspire-fast[train]'`."
        ) from error
    return huggingface_hub


def _cached(wanted: HubAddress, kind: Kind) -> Path | None:
    """The whole copy in the cache, or None."""
    hub = _hub(wanted)
    from huggingface_hub.errors import LocalEntryNotFoundError

    pattern = f"{wanted.folder}/**" if wanted.folder else None
    try:
        folder = hub.snapshot_download(
            wanted.repo, repo_type=kind, revision=wanted.revision, allow_patterns=pattern, local_files_only=True
        )
    except LocalEntryNotFoundError:  # also a copy that is not whole
        return None
    found = Path(folder) / wanted.folder
    if not found.exists() or not any(
        mark.exists() for mark in {_mark(Path(folder), ""), _mark(Path(folder), wanted.folder)}
    ):
        return None
    logger.info("%s: commit %s of the cache.", wanted, Path(folder).name)
    return found


def _mark(snapshot: Path, folder: str) -> Path:
    """Empty file beside `snapshots` that says: this folder of this commit (all of it: "") has arrived whole."""
    name = snapshot.name + "".join(f"+{part}" for part in PurePosixPath(folder).parts)
    return snapshot.parents[1] / ".inspire_fast_checked" / name


def _require_checksums(wanted: HubAddress, folder: Path) -> None:
    """Compares every file with the name that the cache gives its content: the hub's SHA-256, or git's SHA-1.

    Raises:
        FileNotFoundError: a file differs; it is removed, so that the next attempt downloads it again.
    """
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        blob = path.resolve()
        if blob.parent.name != "blobs":
            continue  # a cache without links; huggingface_hub has compared the sizes
        size, digest = blob.stat().st_size, hashlib.sha256()
        if _COMMIT.fullmatch(blob.name):
            digest = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        with blob.open("rb") as content:
            while block := content.read(1 << 20):
                digest.update(block)
        if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", blob.name) and digest.hexdigest() != blob.name:
            blob.unlink()
            path.unlink(missing_ok=True)
            raise FileNotFoundError(
                f"{wanted}: {path.relative_to(folder)} arrived damaged ({size:,} bytes, checksum {digest.hexdigest()} "
                f"instead of {blob.name}). It was removed; try again."
            )
    mark = _mark(folder, wanted.folder)
    mark.parent.mkdir(exist_ok=True)
    mark.touch()


def _below(folder: Path, wanted: HubAddress) -> Path:
    found = folder / wanted.folder
    if not found.exists():
        raise FileNotFoundError(
            f"{wanted}: the repository has no {wanted.folder!r} at commit {folder.name}. Look at its files on the hub."
        )
    return found


@contextlib.contextmanager
def _explained(wanted: HubAddress, kind: Kind) -> Generator[None]:
    """Turns errors of the hub into one message with a remedy; the hub's own text may hold addresses with tokens."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise FileNotFoundError(
            f"{wanted} is gated: ask for access on its page, then log in (`hf auth login`, or the variable HF_TOKEN)."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"There is no {kind} {wanted.repo} on the hub, or it is private and you are not logged in with an account "
            "that may read it (`hf auth login`, or the variable HF_TOKEN)."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise FileNotFoundError(
            f"{kind} {wanted.repo} has no revision {wanted.revision!r}: expected a branch, a tag or a whole commit."
        ) from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise FileNotFoundError(
                f"The hub refuses {wanted} (status {status}): log in with an account that may do this (`hf auth "
                "login`, or the variable HF_TOKEN with a token of the right kind)."
            ) from error
        raise FileNotFoundError(
            f"The hub answered status {status} for {wanted}. What has arrived is kept; try again later."
        ) from error
    except Exception as error:
        network = (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, OSError)
        if not isinstance(error, network) and not type(error).__module__.startswith("httpx"):
            raise  # ours, or a fault of the program
        raise FileNotFoundError(
            f"{wanted} is not whole in the cache, and the hub cannot be reached ({type(error).__name__}). Connect to "
            "the network once (what has arrived is kept), or copy the repository by hand and give its folder."
        ) from error
