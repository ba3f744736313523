"""Whether the datasets of a run that is resumed are still those that it began with."""

from __future__ import annotations

from collections.abc import Mapping
import hashlib
import json
from pathlib import Path

from inspire_fast.data.facts import FACTS_PATH, DatasetIdentity
from inspire_fast.data.lerobot.meta import load_meta
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.dataset_config import part_names

_FOLDERS = ("data", "videos", "images")  # of a LeRobot dataset, beside `meta`
_WHAT = {"episodes": "meta/ (episodes, tasks, features)", "files": "names and sizes of files", "labels": FACTS_PATH}

Fingerprint = dict[str, str]


def fingerprints(config: TrainConfig) -> dict[str, Fingerprint]:
    """Part -> what tells it from a changed one: its metadata, the names and sizes of its files, the content of its labels.

    No frame is read: a dataset of any size takes a moment, and a copy counts as the same. What it does not see is a file whose
    content changed and whose size did not.
    """
    parts = config.data.datasets
    labelled = bool(config.build_script().questions)
    return {
        name: {
            "episodes": DatasetIdentity.of(load_meta(part.root)).sha256,
            "files": _files(part.root),
            "labels": _content(_labels(part.root, part.facts)) if labelled else "",
        }
        for name, part in zip(part_names(parts), parts, strict=True)
    }


def require_unchanged(saved: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]]) -> None:
    """Refuses to go on with other data. Parts that came or went are the loader's to refuse.

    Raises:
        ValueError: names the parts, and what of each differs.
    """
    changed = [
        f"{name}: {', '.join(what for key, what in _WHAT.items() if saved[name].get(key) != now[name][key])}"
        for name in now
        if name in saved and dict(saved[name]) != dict(now[name])
    ]
    if changed:
        raise ValueError(
            "The data changed since this run was saved:\n  "
            + "\n  ".join(changed)
            + "\nThe samples that are due would be others. "
            "Put the data back as it was, or begin a new run from the checkpoint (`--init-from <its params> --exp-name <new>`)."
        )


def _files(root: Path) -> str:
    found = (path for folder in _FOLDERS for path in (root / folder).rglob("*") if path.is_file())
    listed = sorted((path.relative_to(root).as_posix(), path.stat().st_size) for path in found)
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def _labels(root: Path, folder: Path | None) -> Path:
    return root / FACTS_PATH if folder is None else folder / Path(FACTS_PATH).name


def _content(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
