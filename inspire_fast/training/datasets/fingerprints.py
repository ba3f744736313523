"""Fingerprints of datasets: a resumed run checks that its data did not change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import hashlib
import json
from pathlib import Path

from inspire_fast.data.facts import FACTS_PATH, DatasetIdentity
from inspire_fast.data.lerobot.meta import load_meta
from inspire_fast.training.dataset_config import DataPart, part_names

_FOLDERS = ("data", "videos", "images")  # of a LeRobot dataset, besides `meta`
_WHAT = {"episodes": "meta/ (episodes, tasks, features)", "files": "names and sizes of files", "labels": FACTS_PATH}

_EARLIER = "episodes of earlier versions"  # their hash of the metadata
Fingerprint = dict[str, str]


def fingerprints(parts: Sequence[DataPart], *, labelled: bool | Sequence[bool]) -> dict[str, Fingerprint]:
    """Part -> hashes of its metadata, of the names and sizes of its files, and of its labels if the run uses them.

    Whether it does is said for all parts, or for each.

    No frame is read, so a dataset of any size takes a moment, and a copy counts as the same. A file whose content
    changed while its size did not goes unnoticed.
    """
    uses = [labelled] * len(parts) if isinstance(labelled, bool) else labelled
    named = zip(part_names(parts), parts, uses, strict=True)
    return {name: _of(part, labelled=used) for name, part, used in named}


def _of(part: DataPart, *, labelled: bool) -> Fingerprint:
    meta = load_meta(part.root)
    return {
        "episodes": DatasetIdentity.of(meta).sha256,
        _EARLIER: DatasetIdentity.of_earlier_versions(meta).sha256,
        "files": _files(part.root),
        "labels": _content(_labels(part.root, part.facts)) if labelled else "",
    }


def require_unchanged(saved: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]]) -> None:
    """Refuses changed data; added or removed parts are refused by the loader.

    Raises:
        ValueError: names the changed parts, and what of each differs.
    """
    changed = [
        f"{name}: {', '.join(differing)}"
        for name in now
        if name in saved and (differing := _differing(saved[name], now[name]))
    ]
    if changed:
        raise ValueError(
            "The data changed since this run was saved:\n  "
            + "\n  ".join(changed)
            + "\nThe run would continue with other samples. Restore the data, or start a new run from the checkpoint "
            "(`--init-from <its params> --exp-name <new>`)."
        )


def _differing(saved: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    same = {key: saved.get(key) == now[key] for key in _WHAT}
    same["episodes"] |= saved.get("episodes") == now[_EARLIER]
    return [what for key, what in _WHAT.items() if not same[key]]


def _files(root: Path) -> str:
    found = (path for folder in _FOLDERS for path in (root / folder).rglob("*") if path.is_file())
    listed = sorted((path.relative_to(root).as_posix(), path.stat().st_size) for path in found)
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def _labels(root: Path, folder: Path | None) -> Path:
    return root / FACTS_PATH if folder is None else folder / Path(FACTS_PATH).name


def _content(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
