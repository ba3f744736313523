"""Cache of labelled episodes on disk, so that an interrupted run resumes and facts need not fit in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from inspire_fast.core.files import open_atomic
from inspire_fast.core.types import SceneFacts
from inspire_fast.data.fact_rows import SCHEMA, FactRows
from inspire_fast.data.facts import FactsTable
from inspire_fast.data.lerobot.meta import Episode

_METADATA_KEY = b"episode"
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")


@dataclass(frozen=True, kw_only=True)
class CachedEpisode:
    """One labelled episode; its facts are in a file.

    Attributes:
        path: written by `save`.
        frames: number of frames.
        frames_labelled: number of frames with at least one target.
        report: the producer's entry of the report.
        rows: digest of the dataset's rows that it was labelled from.
    """

    path: Path
    frames: int
    frames_labelled: int
    report: Mapping[str, Any]
    rows: str

    def facts(self) -> FactRows:
        """The facts, read from the file."""
        with self.path.open("rb") as file:
            return FactRows(frames=self.frames, table=pa.ipc.open_file(file).read_all().replace_schema_metadata(None))


@dataclass(frozen=True, kw_only=True)
class Labels(Mapping[int, FactRows]):
    """Facts per episode, each read on request: those of the cache, and those of a table for unchanged episodes.

    Attributes:
        cached: episode -> result of this run.
        others: episodes that keep their labels.
        table: their facts; None if there are none.
    """

    cached: Mapping[int, CachedEpisode]
    others: Mapping[int, Episode]
    table: FactsTable | None = None

    def __getitem__(self, number: int) -> FactRows:
        if number in self.cached:
            return self.cached[number].facts()
        if self.table is None or number not in self.others:
            raise KeyError(number)
        return self.table.episode(number)

    def __iter__(self) -> Iterator[int]:
        return iter(sorted({*self.cached, *self.others}))

    def __len__(self) -> int:
        return len({*self.cached, *self.others})


def save(
    path: Path, frames: Sequence[SceneFacts | None], report: Mapping[str, Any], *, inputs: str, rows: str
) -> CachedEpisode:
    """Writes an episode's facts and report, atomically.

    Args:
        path: of the file.
        frames: facts per frame.
        report: the producer's entry of the report.
        inputs: digest of the episode's own input files.
        rows: digest of the dataset's rows.
    """
    rows_of = FactRows.of(frames)
    labelled = sum(scene is not None and bool(scene.targets) for scene in frames)
    stored = {"report": report, "inputs": inputs, "rows": rows, "frames": len(frames), "frames_labelled": labelled}
    # Arrays and numpy scalars of the report become JSON values, as a resumed run reads them.
    text = json.dumps(stored, default=lambda value: value.tolist())
    schema = SCHEMA.with_metadata({_METADATA_KEY: text})
    with open_atomic(path) as file, pa.ipc.new_file(file, schema, options=_COMPRESSED) as writer:
        writer.write_table(rows_of.table.replace_schema_metadata(schema.metadata))
    return _cached(path, json.loads(text))


def load(path: Path, *, inputs: str, rows: str) -> CachedEpisode | None:
    """The result of an interrupted run; None if there is none, or if inputs or rows have changed since."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        stored = json.loads(pa.ipc.open_file(file).schema.metadata[_METADATA_KEY])
    return _cached(path, stored) if (stored["inputs"], stored["rows"]) == (inputs, rows) else None


def digest(files: Sequence[Path]) -> str:
    """Digest of names, sizes and contents of an episode's files; the producer reports missing ones."""
    total = hashlib.sha256()
    for file in files:
        content = file.read_bytes() if file.is_file() else b""
        total.update(f"{file.name} {len(content)} ".encode() + content)
    return total.hexdigest()


def _cached(path: Path, stored: Mapping[str, Any]) -> CachedEpisode:
    kept = {name: stored[name] for name in ("frames", "frames_labelled", "report", "rows")}
    return CachedEpisode(path=path, **kept)
