"""Definition of a study: arms (ways of training), seeds, and conditions (episodes of an evaluation).

    Study(arms=(plain, inspire), seeds=(0, 1), conditions=(seen, unseen))
    order of the runs: plain-0, inspire-0, plain-1, inspire-1      each is trained, then evaluated under every condition

A study is a Python file that defines `STUDY`; `configs/studies/` has the named ones.
"""

from __future__ import annotations

from dataclasses import dataclass
import importlib.util
from pathlib import Path

from inspire_fast.core.errors import UnknownNameError
from inspire_fast.core.ranges import Count, Natural, require_ranges
from inspire_fast.core.registry import unknown_name
from inspire_fast.evaluation.run.answering import Answering
from inspire_fast.training.named_configs import config_folder


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way of training.

    Attributes:
        name: in the table and in the names of folders.
        config: named config, the same for all arms as a rule.
        options: further words of the command line of `scripts/train.py`.
        answering: sources of the answers in its evaluations; an arm without questions has `own` alone.
    """

    name: str
    config: str
    options: tuple[str, ...] = ()
    answering: tuple[Answering, ...] = ("own",)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Episodes of an evaluation.

    Attributes:
        name: in the table and in the names of folders.
        tasks: `suite:number`.
        options: further words of the command line of the evaluation.
        every_answering: evaluate with all sources of answers of an arm, not only the policy's own.
    """

    name: str
    tasks: tuple[str, ...]
    options: tuple[str, ...] = ()
    every_answering: bool = False

    def sources(self, arm: Arm) -> tuple[Answering, ...]:
        """Sources of answers with which an arm is evaluated."""
        return arm.answering if self.every_answering else arm.answering[:1]


@dataclass(frozen=True, kw_only=True)
class Study:
    """A queue of runs with the same data, steps and episodes.

    Attributes:
        name: in the registry, and of the folder of its runs.
        recordings: dataset's name -> words of the command line of `scripts/record_demonstrations.py`, without `--root`.
        arms: ways of training; the others are compared with the first one, in pairs of episodes.
        seeds: each arm is trained once with each.
        steps: optimizer steps of every run.
        conditions: evaluations of every run.
        episodes: initial states per task and evaluation.
        evaluation: words of the command line of every evaluation.
    """

    name: str
    recordings: dict[str, tuple[str, ...]]
    arms: tuple[Arm, ...]
    seeds: tuple[Natural, ...]
    steps: Count
    conditions: tuple[Condition, ...]
    episodes: Count
    evaluation: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_ranges(self)
        for what in ("arms", "conditions"):
            names = [part.name for part in getattr(self, what)]
            if not names or len(set(names)) != len(names):
                raise ValueError(f"Study {self.name!r}: the names of its {what} must differ, and be some; got {names}.")
        if not self.seeds or not self.recordings:
            raise ValueError(f"Study {self.name!r} needs seeds and recordings; got {self.seeds}, {self.recordings}.")

    @property
    def runs(self) -> tuple[Run, ...]:
        """Every run, all arms of the first seed first."""
        return tuple(Run(arm=arm, seed=seed) for seed in self.seeds for arm in self.arms)


@dataclass(frozen=True, kw_only=True)
class Run:
    """An arm with a seed."""

    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.arm.name}-{self.seed}"


def study_names() -> list[str]:
    """Every named study."""
    return sorted(path.stem for path in (config_folder() / "studies").glob("*.py"))


def load_study(name: str) -> Study:
    """A named study, or that of a Python file (`.py`).

    Raises:
        KeyError: no such file; suggests the closest name and lists all.
        ValueError: the file does not define `STUDY`, or another name than its own.
    """
    path = Path(name) if name.endswith(".py") else config_folder() / "studies" / f"{name}.py"
    if not path.is_file():
        raise UnknownNameError(unknown_name("study", name, study_names()) + " The path of a .py file works too.")
    spec = importlib.util.spec_from_file_location(f"studies.{path.stem}", path)
    assert spec is not None  # it is a .py file
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    study = getattr(module, "STUDY", None)
    if not isinstance(study, Study) or study.name != path.stem:
        raise ValueError(f"{path} must define STUDY = Study(name={path.stem!r}, ...); got {study!r:.80}.")
    return study
