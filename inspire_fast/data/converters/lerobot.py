"""Copies of a LeRobot dataset: another version of the format, images instead of videos, smaller row groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
import shutil

import numpy as np
import pyarrow as pa

from inspire_fast.data.converters.base import (
    Conversion,
    Description,
    Episode,
    Pending,
    Storage,
    convert,
    recording_path,
)
from inspire_fast.data.converters.language import LanguageFromFacts
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.facts import FACTS_PATH, FactsTable, stored_producer, write_facts
from inspire_fast.data.lerobot.check import find_bad_episodes
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.language import TYPES
from inspire_fast.data.lerobot.meta import Episode as Place
from inspire_fast.data.lerobot.parquet import read_schema
from inspire_fast.data.lerobot.row_samples import require_rows_of
from inspire_fast.data.lerobot.schema import INDEX_FEATURES


def copy_dataset(
    source: Path, root: Path, *, storage: Storage | None = None, language_columns: bool = False
) -> Conversion:
    """Copies a dataset with its labels, recordings, annotations and names of elements; depth maps are refused.

    Args:
        source: the dataset.
        root: folder of the copy.
        storage: options of the writer.
        language_columns: also write its labels of places in pictures into LeRobot's language columns.

    Raises:
        DatasetError: `root` is the source itself or holds it, a column cannot be written, or an episode is damaged and
            none is to be skipped.
    """
    if root.resolve() in (source.resolve(), *source.resolve().parents):
        raise DatasetError(f"{root} is the source {source} or holds it; a copy needs a folder of its own.")
    dataset = LeRobotDataset(source, cache_bytes=128 << 20)
    names = [name for name in dataset.features if name not in INDEX_FEATURES]
    if refused := [name for name in names if dataset.feature(name).depth_map]:
        raise DatasetError(f"{source}: the columns {refused} hold depth maps, which this command does not write.")
    if storage is not None and storage.skip_bad_episodes:  # else one damaged file would take all episodes along
        dataset = dataset.without(find_bad_episodes(dataset, names))
    language = LanguageFromFacts(dataset) if language_columns else None
    return convert(
        _episodes(dataset, names, language),
        root,
        Description(
            fps=dataset.fps,
            robot_type=dataset.meta.robot_type,
            names={n: f.names for n in names if (f := dataset.feature(n)).names and not f.visual},
            annotation_types={**_annotation_types(dataset), **({} if language is None else TYPES)},
        ),
        storage=storage,
        done=partial(_copy_labels_and_recordings, dataset),
    )


def _annotation_types(dataset: LeRobotDataset) -> dict[str, pa.DataType]:
    annotated = [name for name, feature in dataset.features.items() if feature.dtype == "language"]
    sound = (episode.data_path for episode in dataset.episodes if episode.index not in dataset.skipped)
    path = next(sound, None) if annotated else None
    schema = pa.schema([]) if path is None else read_schema(path)
    return {name: schema.field(name).type for name in annotated if name in schema.names}


def _episodes(dataset: LeRobotDataset, names: Sequence[str], language: LanguageFromFacts | None) -> Iterator[Pending]:
    for place in dataset.episodes:
        yield Pending(name=f"episode {place.index}", read=partial(_read, dataset, place, names, language))


def _read(dataset: LeRobotDataset, place: Place, names: Sequence[str], language: LanguageFromFacts | None) -> Episode:
    if place.index in dataset.skipped:
        raise DatasetError(dataset.skipped[place.index])
    rows = range(place.start, place.stop)
    tasks = sorted({text for _, _, text in dataset.instructions(place)})
    if len(tasks) > 1:
        raise DatasetError(f"{dataset.root}: episode {place.index} has several instructions: {tasks}.")
    cameras = [name for name in names if dataset.feature(name).visual]
    images = [dataset.row(row, cameras) for row in rows]
    values = dataset.columns([name for name in names if name not in cameras])
    columns = {name: column[place.start : place.stop] for name, column in values.items()}
    columns |= {name: np.stack([row[name] for row in images]) for name in cameras}
    said = {} if language is None else language.of(place)
    return Episode(columns={**{name: columns[name] for name in names}, **said}, task=tasks[0], notes={})


def _copy_labels_and_recordings(dataset: LeRobotDataset, root: Path, names: Sequence[str]) -> None:
    """Copies the labels and the simulator's recordings of the episodes that were kept."""
    kept = [dataset.episode(int(name.removeprefix("episode "))) for name in names]
    for new, old in enumerate(kept):
        recording = recording_path(dataset.root, old.index)
        if recording.is_file():
            recording_path(root, new).parent.mkdir(exist_ok=True)
            shutil.copyfile(recording, recording_path(root, new))
    if not (dataset.root / FACTS_PATH).is_file():
        return
    table = FactsTable.load(dataset.root)
    require_rows_of(dataset, table.made_from)
    facts = {new: table.episode(old.index) for new, old in enumerate(kept)}
    producer = stored_producer(dataset.root) or ""
    write_facts(root, facts, robot=table.robot, frame_description=table.frame_description, producer=producer)
