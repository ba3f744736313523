"""Config of a run's datasets: `TrainConfig.data`, its parts, and how a command line names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
import json
from pathlib import Path
from typing import Annotated, Any

import tyro

from inspire_fast.core.hub import HubAddress, is_hub_address, local_dataset
from inspire_fast.core.ranges import Count, Natural, NotNegative, Positive, Range, require_ranges
from inspire_fast.core.registry import require_choice, unknown_name
from inspire_fast.data.chunks import EndPadding
from inspire_fast.data.normalization.normalizer import Normalisation
from inspire_fast.data.question_dropout import QuestionDropout
from inspire_fast.data.truths import Unlabelled
from inspire_fast.training.augment import RECIPES


@dataclass(frozen=True, kw_only=True)
class DataPart:
    """One of several datasets.

    Attributes:
        root: folder of a LeRobot dataset (any supported version) with its labels.
        weight: relative frequency of its samples: with weights 3 and 1, three of four samples come from the first part,
            whatever the sizes. None (for all parts or for none) draws each sample equally often.
        name: name in messages and in the position that a run resumes from; by default the folder's name.
        exclude_episodes: numbers of episodes to leave out.
        facts: folder of its `facts.parquet`, if that is not `labels` in `root`.
        columns, action_column: as in `DataConfig`, for this dataset alone; empty means the config's.
        script, questions: as in `DialogueConfig`, for this dataset alone; empty means the config's. So one part can be
            answered (`ground`) while the other acts.
        loss_weight: factor of the loss of this part's rows. The loss is a mean over rows, in which `weight` counts,
            too: 4 of 20 rows with 0.4 have a tenth of what the 16 others have (ST4VLA's 1:10).
    """

    root: Path
    weight: Positive | None = None
    name: str = ""
    exclude_episodes: tuple[Natural, ...] = ()
    facts: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    action_column: str = ""
    script: str = ""
    questions: tuple[str, ...] = ()
    loss_weight: Positive = 1.0

    def __post_init__(self) -> None:
        require_ranges(self)

    def __str__(self) -> str:
        """The text that `parse` reads."""
        weight = "" if self.weight is None else f":{self.weight:g}"
        short = f"{self.root}{weight}"
        if not short.startswith("{") and parse(short) == self:
            return short
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        given = {name: v for name, v in values.items() if name == "root" or (v and (name, v) != ("loss_weight", 1.0))}
        return json.dumps(given, default=str)


def parse(text: str) -> DataPart:
    """A part from the command line: `data/mine`, `data/mine:0.3`, or a JSON object of the fields of `DataPart`.

    Raises:
        ValueError: an unknown field, or a value of the wrong type; lists the known fields.
    """
    if text.startswith("{"):
        return _from_json(text)
    path, _, weight = text.rpartition(":")
    try:
        number = float(weight) if path else None
    except ValueError:  # the colon belongs to the path
        number = None
    return DataPart(root=Path(text)) if number is None else DataPart(root=Path(path), weight=number)


def _from_json(text: str) -> DataPart:
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"data.parts: {text} is not valid JSON: {error}.") from error
    known = {
        "root": str,
        "weight": int | float | None,
        "name": str,
        "exclude_episodes": list,
        "facts": str | None,
        "columns": dict,
        "action_column": str,
        "script": str,
        "questions": list,
        "loss_weight": int | float,
    }
    for name, value in given.items():
        if name not in known:
            raise ValueError("data.parts: " + unknown_name("field of a part", name, list(known)))
        if isinstance(value, bool) or not isinstance(value, known[name]):
            raise ValueError(f"data.parts: `{name}` cannot be {value!r:.60} in {text}.")
    if "root" not in given:
        raise ValueError(f"data.parts: {text} names no `root`, the dataset's folder.")
    if any(type(n) is not int for n in given.get("exclude_episodes", ())):
        raise ValueError(f"data.parts: `exclude_episodes` must be numbers; got {given['exclude_episodes']!r:.60}.")
    if not all(isinstance(v, str) for v in given.get("columns", {}).values()):
        raise ValueError(
            f"data.parts: `columns` must be names of columns -> keys of the robot; got {given['columns']!r:.60}."
        )
    if not all(isinstance(name, str) for name in given.get("questions", ())):
        raise ValueError(f"data.parts: `questions` must be names of questions; got {given['questions']!r:.60}.")
    paths = {name: Path(given[name]) for name in ("root", "facts") if given.get(name) is not None}
    lists = {name: tuple(given.get(name, ())) for name in ("exclude_episodes", "questions")}
    return DataPart(**{**given, **paths, **lists})


DataPartArgument = Annotated[
    DataPart,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH[:WEIGHT]|JSON",
        instance_from_str=lambda words: parse(words[0]),
        is_instance=lambda value: isinstance(value, DataPart),
        str_from_instance=lambda part: [str(part)],
    ),
]


def part_names(parts: Sequence[DataPart]) -> tuple[str, ...]:
    """A name for each part: its own, or the shortest ending of its path (and its script) that no other part has."""
    ends = [(*part.root.resolve().parts, *filter(None, [part.script])) for part in parts]
    for depth in range(1, max(map(len, ends), default=1) + 1):
        names = [part.name or "/".join(end[-depth:]) for part, end in zip(parts, ends, strict=True)]
        if len(set(names)) == len(names):
            return tuple(names)
    raise ValueError(f"data.parts: names must differ; got {[part.name or str(part.root) for part in parts]}.")


def check_parts(parts: Sequence[DataPart]) -> None:
    """Refuses contradicting parts.

    Raises:
        ValueError: a repeated dataset (with the same script) or name, or weights for some parts only.
    """
    said = [(part.root.resolve(), part.script, part.questions) for part in parts]
    if twice := [str(part.root) for part, one in zip(parts, said, strict=True) if said.count(one) > 1]:
        raise ValueError(f"data.parts names a dataset twice: {twice}. Give it once, with the weights added.")
    if len({part.weight is None for part in parts}) > 1:
        raise ValueError(f"data.parts: give weights to all parts or to none; got {[str(part) for part in parts]}.")
    part_names(parts)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The datasets of a run, and how samples are cut from them.

    `parts` names several datasets that are trained on together::

        data=DataConfig(parts=(
            DataPart(root=Path("data/libero"), weight=3),
            DataPart(root=Path("data/mine"), weight=1, exclude_episodes=(4, 17)),
        ))

    On the command line `--data.parts data/libero:3 data/mine:1` replaces `root`; a part is `PATH`, `PATH:WEIGHT`, or a
    JSON object of the fields of `DataPart`. With these weights three quarters of the samples come from the first part
    and one quarter from the second, whatever their sizes. Each part is shuffled by itself, seen in full, and started
    again when it is used up, so small parts with large weights repeat. Without weights, parts are drawn in proportion
    to their sizes, and an epoch is every sample once. The order depends on (seed, position) alone: a resumed run
    continues with the samples that were due, and refuses other parts, weights or sizes. Statistics describe the samples
    as they are drawn. Every part has its own held-out episodes.

    Attributes:
        root: folder of a LeRobot dataset with its labels; None with `parts`.
        parts: several datasets instead of `root`, all of the run's robot. Their order must not change in a resumed run.
        parts_may_differ: allow parts whose `info.json` give different frame rates or robot types. A chunk of the same
            number of actions then lasts a different time in each.
        horizon: actions per chunk.
        held_out_every: every n-th episode is held out for evaluation and never trained on; counted in the order of
            tasks.
        columns: dataset column -> native key of the robot; empty means the columns of openpi's conversions.
        action_column: dataset column of the actions; empty likewise.
        end_padding: near an episode's end, `repeat_last` repeats its last action, `drop` leaves the rows out.
        max_image_age_s: rows whose stored image is older than this (seconds) are not samples.
        state_noise: standard deviation of the noise added to the normalised state in training; a state bin is 1/128
            wide. It keeps the policy from relying on exact values.
        augmentation: random changes of the training images, made on the device; a name of `RECIPES`. `intended` is
            openpi's recipe as its config means it.
        max_token_len: ids per row; a longer dialogue is an error.
        max_supervised: supervised ids per row; likewise.
        normalisation: of state and actions; pi0-FAST is trained with quantiles.
        question_dropout: which questions a training sample holds, and which are left out.
        unlabelled: see `TrainingTransform`.
        skip_bad_episodes: leave damaged episodes out and list them; otherwise they are an error.
        exclude_episodes: numbers of episodes to leave out; parts have their own.
        delta: see `Normalizer.delta`; None takes the robot's. Statistics depend on it: compute them again after a
            change.
        loader_threads: threads of this process that read and transform samples.
    """

    root: Path | None = None
    parts: tuple[DataPartArgument, ...] = ()
    parts_may_differ: bool = False
    horizon: Count = 10
    held_out_every: Annotated[int, Range(2)] = 10
    columns: Mapping[str, str] = field(default_factory=dict)
    action_column: str = ""
    end_padding: EndPadding = "repeat_last"
    max_image_age_s: NotNegative = 0.0
    state_noise: NotNegative = 0.0
    augmentation: str = "intended"
    max_token_len: Count = 256
    max_supervised: Count = 128
    normalisation: Normalisation = "quantile"
    delta: tuple[bool, ...] | None = None
    question_dropout: QuestionDropout = field(default_factory=QuestionDropout)
    unlabelled: Unlabelled = "refuse"
    skip_bad_episodes: bool = False
    exclude_episodes: tuple[Natural, ...] = ()
    loader_threads: Natural = 2

    def __post_init__(self) -> None:
        require_ranges(self)
        RECIPES[self.augmentation]  # raises with a suggestion
        require_choice("way with unlabelled frames", self.unlabelled, Unlabelled)
        require_choice("end_padding", self.end_padding, EndPadding)
        require_choice("normalisation", self.normalisation, Normalisation)
        if (self.root is None) != bool(self.parts):
            given = (
                "neither is given" if self.root is None else f"both are given ({self.root} and {len(self.parts)} parts)"
            )
            raise ValueError(f"Name a dataset with `--data.root`, or several with `--data.parts`; {given}.")
        if self.parts and self.exclude_episodes:
            raise ValueError(
                f"data.exclude_episodes={self.exclude_episodes} does not say of which of the {len(self.parts)} parts; "
                "give the numbers to the parts (`exclude_episodes` of a `DataPart`)."
            )
        check_parts(self.parts)

    @property
    def datasets(self) -> tuple[DataPart, ...]:
        """The parts; `root` alone is one. Datasets of the hub are downloaded where that was not done before."""
        if self.parts or self.root is None:
            return tuple(map(_local, self.parts))
        return (_local(DataPart(root=self.root, exclude_episodes=self.exclude_episodes)),)


def _local(part: DataPart) -> DataPart:
    """The part with a folder in place of an address; its name is then the repository's."""
    if not is_hub_address(part.root):
        return part
    return replace(part, root=local_dataset(part.root), name=part.name or HubAddress.parse(str(part.root)).repo)


def stored_parts(parts: Sequence[DataPart]) -> list[dict[str, Any]]:
    """The parts for a checkpoint's record, without machine paths."""
    names = part_names(parts)
    return [
        {**{k: v for k, v in asdict(part).items() if k not in ("root", "facts")}, "name": name}
        for part, name in zip(parts, names, strict=True)
    ]
