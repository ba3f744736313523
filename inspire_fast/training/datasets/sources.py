"""The datasets that a config names, opened: each by itself, or as the one source that a run draws from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inspire_fast.data.chunks import ChunkConfig, ChunkSource, Split
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.facts import FactsTable
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.mixture import Mixture, Part
from inspire_fast.data.normalization.compute import Source
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.dataset_config import DataPart, part_names


def open_source(config: TrainConfig, split: Split) -> Source:
    """Samples of one split (`train`, `held_out` or `all`): a dataset's, or a mixture of several in the shares of their weights.

    Raises:
        FileNotFoundError: a dataset is missing, or its labels are although the script asks questions; says what to run.
        DatasetError: a dataset is damaged, or parts do not go together; names them.
    """
    return joined(open_parts(config, split))


def open_parts(config: TrainConfig, split: Split) -> tuple[Part[ChunkSource], ...]:
    """The samples of each dataset by itself, in the config's order; those of a held-out split may be none. See `open_source`."""
    wanted = config.data.datasets
    datasets = [LeRobotDataset(part.root) for part in wanted]
    names = part_names(wanted)
    if not config.data.parts_may_differ:
        _refuse_different(dict(zip(names, datasets, strict=True)))
    return tuple(
        Part(name=name, source=_open(config, part, dataset, split), weight=part.weight)
        for name, part, dataset in zip(names, wanted, datasets, strict=True)
    )


def joined(parts: Sequence[Part[ChunkSource]]) -> Source:
    """One source of the parts that have samples."""
    filled = [part for part in parts if len(part.source)]
    return Mixture(filled) if len(parts) > 1 and filled else parts[0].source


def described(parts: Sequence[Part[ChunkSource]]) -> list[str]:
    """A line on each of several parts: its samples, its share of those drawn, what is skipped."""
    shares = shares_drawn(parts)
    return [
        f"part {part.name}: {len(part.source)} samples, {shares[part.name]:.1%} of those drawn"
        + (f", {len(part.source.skipped)} episodes skipped" if part.source.skipped else "")
        for part in (parts if len(parts) > 1 else ())
    ]


def shares_drawn(parts: Sequence[Part[ChunkSource]]) -> dict[str, float]:
    """Part -> its share of the samples that a run draws, 0 to 1."""
    source = joined(parts)
    if not isinstance(source, Mixture):
        return {part.name: 1.0 for part in parts}
    drawn = dict(zip((part.name for part in source.parts), source.fractions.tolist(), strict=True))
    return {part.name: drawn.get(part.name, 0.0) for part in parts}


def training_columns(config: TrainConfig, part: DataPart) -> tuple[dict[str, str], str]:
    """Dataset column -> native key, and the column of the actions: the part's, the config's, or the robot's."""
    robot = config.embodiment
    columns = part.columns or config.data.columns or robot.columns
    return dict(columns), part.action_column or config.data.action_column or robot.action_column


def _open(config: TrainConfig, part: DataPart, dataset: LeRobotDataset, split: Split) -> ChunkSource:
    columns, action_column = training_columns(config, part)
    return ChunkSource(
        dataset,
        FactsTable.load(part.root, part.facts) if config.build_script().questions else None,
        robot=config.embodiment,
        horizon=config.data.horizon,
        config=ChunkConfig(
            split=split,
            held_out_every=config.data.held_out_every,
            max_image_age_s=config.data.max_image_age_s,
            columns=columns,
            action_column=action_column,
            end_padding=config.data.end_padding,
            skip_bad_episodes=config.data.skip_bad_episodes,
            exclude_episodes=part.exclude_episodes,
        ),
    )


def _refuse_different(datasets: Mapping[str, LeRobotDataset]) -> None:
    """Parts that their makers say are of different robots or rates; one that names no robot goes with any."""
    for what, values in (
        ("frame rates", {name: dataset.fps for name, dataset in datasets.items()}),
        ("robot types", {name: r for name, dataset in datasets.items() if (r := dataset.meta.robot_type)}),
    ):
        if len(set(values.values())) > 1:
            raise DatasetError(
                f"data.parts have different {what} in meta/info.json: {values}. If they belong together all the same, say so "
                "with `--data.parts-may-differ`."
            )
