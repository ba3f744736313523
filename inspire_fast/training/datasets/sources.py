"""Sample sources of a run: its datasets opened one by one, or joined into the mixture that training draws from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from inspire_fast.data.chunks import ChunkConfig, ChunkSource, Split
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.facts import FactsTable
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.mixture import Mixture, Part
from inspire_fast.data.normalization.compute import Source
from inspire_fast.data.robot_columns import is_of_pictures
from inspire_fast.dialogue.questions.base import needs_labels
from inspire_fast.robots import Robot
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.dataset_config import DataConfig, DataPart, part_names


def open_source(config: TrainConfig, split: Split) -> Source:
    """Samples of one split (`train`, `held_out` or `all`): one dataset, or a mixture of several by their weights.

    Raises:
        FileNotFoundError: a dataset is missing, or its labels are missing and the script asks questions; names the
            command to run.
        DatasetError: a dataset is damaged, or parts do not fit together; names them.
    """
    return joined(open_parts(config, split))


def open_parts(config: TrainConfig, split: Split) -> tuple[Part[ChunkSource], ...]:
    """The samples of each dataset, in the config's order; a held-out split may be empty. Raises as `open_source`."""
    wanted = config.data.datasets
    datasets = [LeRobotDataset(part.root) for part in wanted]
    names = part_names(wanted)
    if not config.data.parts_may_differ:
        _refuse_different(dict(zip(names, datasets, strict=True)))
    return tuple(
        Part(
            name=name,
            source=_open(config, part, dataset, split),
            weight=part.weight,
        )
        for name, part, dataset in zip(names, wanted, datasets, strict=True)
    )


def acting_source(config: TrainConfig, split: Split) -> Source | tuple[()]:
    """As `open_source`, of the parts that the run's own script renders; empty if every part has one of its own."""
    opened = zip(open_parts(config, split), config.data.datasets, strict=True)
    own = [part for part, wanted in opened if not (wanted.script or wanted.questions)]
    return joined(own) if own else ()


def recorded(parts: Sequence[Part[ChunkSource]]) -> tuple[Part[ChunkSource], ...]:
    """The parts with states and actions: all but single pictures.

    Raises:
        DatasetError: there are none.
    """
    if not (found := tuple(part for part in parts if part.source.acts)):
        raise DatasetError(
            f"data.parts: {[part.name for part in parts]} hold single pictures alone. Statistics and tokenizers are of "
            "a robot's states and actions: add a dataset of the robot that will be trained (its part may have the "
            "script 'ground', too)."
        )
    return found


def of_split(parts: Sequence[Part[ChunkSource]], split: Split) -> tuple[Part[ChunkSource], ...]:
    """The same datasets' samples of another split, without reading anything again."""
    return tuple(replace(part, source=part.source.of_split(split)) for part in parts)


def joined(parts: Sequence[Part[ChunkSource]]) -> Source:
    """One source of all parts that have samples."""
    filled = [part for part in parts if len(part.source)]
    several = len(parts) > 1 or parts[0].transform is not None
    return Mixture(filled) if several and filled else parts[0].source


def described(parts: Sequence[Part[ChunkSource]]) -> list[str]:
    """One line per part, if there are several: samples, share of the drawn samples, skipped episodes."""
    shares = shares_drawn(parts)
    return [
        f"part {part.name}: {len(part.source)} samples, {shares[part.name]:.1%} of those drawn"
        + (f", {len(part.source.skipped)} episodes skipped" if part.source.skipped else "")
        for part in (parts if len(parts) > 1 else ())
    ]


def shares_drawn(parts: Sequence[Part[ChunkSource]]) -> dict[str, float]:
    """Part -> share of the samples that a run draws, 0 to 1."""
    source = joined(parts)
    if not isinstance(source, Mixture):
        return {part.name: 1.0 for part in parts}
    drawn = dict(zip((part.name for part in source.parts), source.fractions.tolist(), strict=True))
    return {part.name: drawn.get(part.name, 0.0) for part in parts}


def uses_labels(config: TrainConfig) -> list[bool]:
    """For each part, whether its script asks what only labels answer."""
    return [any(map(needs_labels, config.script_of(part).questions)) for part in config.data.datasets]


def training_columns(data: DataConfig, robot: Robot, part: DataPart) -> tuple[dict[str, str], str]:
    """(dataset column -> native key of the robot, action column), of the part, the config, or the robot."""
    columns = part.columns or data.columns or robot.columns
    return dict(columns), part.action_column or data.action_column or robot.action_column


def _open(config: TrainConfig, part: DataPart, dataset: LeRobotDataset, split: Split) -> ChunkSource:
    data, robot, script = config.data, config.embodiment, config.script_of(part)
    questions = script.questions
    if is_of_pictures(dataset.meta) and (script.acts or script.reads_state):
        raise DatasetError(
            f"{dataset.root} holds single pictures without states and actions, and script {script.name!r} needs them. "
            f'Give the part a script that only answers: --data.parts \'{{"root": "{part.root}", "script": "ground"}}\'.'
        )
    columns, action_column = training_columns(data, robot, part)
    return ChunkSource(
        dataset,
        FactsTable.load(part.root, part.facts) if any(map(needs_labels, questions)) else None,
        robot=robot,
        horizon=data.horizon,
        config=ChunkConfig(
            split=split,
            held_out_every=data.held_out_every,
            max_image_age_s=data.max_image_age_s,
            columns=columns,
            action_column=action_column,
            end_padding=data.end_padding,
            skip_bad_episodes=data.skip_bad_episodes,
            exclude_episodes=part.exclude_episodes,
        ),
        motion=any(not needs_labels(question) for question in questions),
    )


def _refuse_different(datasets: Mapping[str, LeRobotDataset]) -> None:
    """Refuses parts whose metadata name different robots or frame rates; a part that names no robot fits any."""
    datasets = {name: dataset for name, dataset in datasets.items() if not is_of_pictures(dataset.meta)}
    for what, values in (
        ("frame rates", {name: dataset.fps for name, dataset in datasets.items()}),
        ("robot types", {name: r for name, dataset in datasets.items() if (r := dataset.meta.robot_type)}),
    ):
        if len(set(values.values())) > 1:
            raise DatasetError(
                f"data.parts have different {what} in meta/info.json: {values}. If they belong together, allow it "
                "with `--data.parts-may-differ`."
            )
