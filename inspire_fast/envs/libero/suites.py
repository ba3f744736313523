"""Tasks of LIBERO's suites: instructions, problems in BDDL, fixed initial states.

Nothing here starts the simulator: listing all 130 tasks needs one import of the benchmark's index.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
import re

import numpy as np

from inspire_fast.core.registry import unknown_name
from inspire_fast.envs.libero.install import import_libero

SUITES = ("libero_spatial", "libero_object", "libero_goal", "libero_10", "libero_90")
# LIBERO-PRO's suites with problems and initial states in the package: suite -> the suite it changes.
# `swap`: objects change places; `object`: other looks and sizes; `lan`: other words; `task`: another task.
PRO_SUITES = {f"{suite}_{kind}": suite for suite in SUITES[:4] for kind in ("swap", "object", "lan", "task")}
_OWN_WORDS = ("lan", "task")  # suites whose instruction is the problem's, not the one in the file's name


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Things, regions and goal of a task, from its BDDL file.

    Attributes:
        categories: instance -> category for everything in the scene ("akita_black_bowl_1" -> "akita_black_bowl").
        interest: the objects of interest; instances, or regions of them.
        goal: predicates in lower case with their arguments, e.g. `("on", "akita_black_bowl_1", "plate_1")`.
        regions: region -> instance that it belongs to ("basket_1_contain_region" -> "basket_1").
        places_m: instance on a table -> middle `(x, y)` of the region where it starts, along the world's axes, relative
            to its table: +x front, +y right.
    """

    categories: Mapping[str, str]
    interest: tuple[str, ...]
    goal: tuple[tuple[str, ...], ...]
    regions: Mapping[str, str]
    places_m: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def owner(self, name: str) -> str:
        """The instance of a name: the name itself, or the instance that the region belongs to."""
        return self.regions.get(name, name)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task.

    `prompt` is LIBERO's instruction as openpi uses it, from the file's name and not the BDDL's wording. In LIBERO-PRO's
    `lan` and `task` suites it is the BDDL's in lower case, because the wording is what these suites change.
    """

    suite: str
    index: int
    name: str
    prompt: str
    bddl_file: Path
    initial_states_file: Path

    def initial_states(self) -> np.ndarray:
        """The suite's fixed initial states, float64 `[50, time + qpos + qvel]`."""
        with np.load(self.initial_states_file, allow_pickle=False) as archive:
            return archive["states"]

    def problem(self) -> Problem:
        """Parses the task's BDDL file."""
        from bddl.parsing import scan_tokens

        sections = {section[0]: section[1:] for section in scan_tokens(filename=str(self.bddl_file))[1:]}
        categories = {**_typed(sections.get(":fixtures", [])), **_typed(sections.get(":objects", []))}
        regions, middles = {}, {}
        for name, *attributes in sections.get(":regions", []):
            of = {attribute[0]: attribute[1] for attribute in attributes}
            region = f"{of[':target']}_{name}"
            regions[region] = of[":target"]
            if ":ranges" in of:
                x0, y0, x1, y1 = (float(number) for number in of[":ranges"][0])
                middles[region] = ((x0 + x1) / 2, (y0 + y1) / 2)
        goal = sections[":goal"][0]
        predicates = goal[1:] if goal[0].lower() == "and" else [goal]
        return Problem(
            categories=categories,
            interest=tuple(sections.get(":obj_of_interest", [])),
            goal=tuple((predicate[0].lower(), *predicate[1:]) for predicate in predicates),
            regions=regions,
            places_m={p[1]: middles[p[2]] for p in sections.get(":init", []) if len(p) == 3 and p[2] in middles},
        )


def tasks(suite: str) -> tuple[Task, ...]:
    """All tasks of a suite, in the benchmark's order (task order 0).

    Raises:
        ValueError: unknown suite.
        ImportError: the simulator is not installed; names the command that installs it.
    """
    if suite not in SUITES and suite not in PRO_SUITES:
        raise ValueError(unknown_name("LIBERO suite", suite, [*SUITES, *PRO_SUITES]))
    import_libero()
    from libero.libero import get_libero_path
    from libero.libero.benchmark import task_maps

    problems, states = Path(get_libero_path("bddl_files")), Path(get_libero_path("init_states"))
    own_words = suite.rpartition("_")[2] in _OWN_WORDS
    return tuple(
        Task(
            suite=suite,
            index=index,
            name=task.name,
            prompt=_own_words(problems / task.problem_folder / task.bddl_file) if own_words else task.language,
            bddl_file=problems / task.problem_folder / task.bddl_file,
            initial_states_file=states / task.problem_folder / f"{task.init_states_file}.npz",
        )
        for index, task in enumerate(task_maps[suite].values())
    )


def find_task(suite: str, task: int | str) -> Task:
    """One task by its number or its name.

    Raises:
        ValueError: no such task; lists the available ones.
    """
    available = tasks(suite)
    if isinstance(task, str):
        named = {entry.name: entry for entry in available}
        if task not in named:
            raise ValueError(unknown_name(f"task of {suite}", task, list(named)))
        return named[task]
    if not 0 <= task < len(available):
        raise ValueError(f"{suite} has tasks 0..{len(available) - 1}; got {task}.")
    return available[task]


def parse_task(text: str) -> tuple[str, int]:
    """`libero_spatial:0` -> suite and number; whether there is such a task is not checked.

    Raises:
        ValueError: another form.
    """
    suite, colon, number = text.rpartition(":")
    if not colon or not number.isdecimal():
        raise ValueError(f"A task is given as suite:number, for example libero_spatial:0; got {text!r}.")
    return suite, int(number)


def _own_words(bddl_file: Path) -> str:
    """The instruction in the problem's file."""
    found = re.search(r"\(:language ([^)]*)\)", bddl_file.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{bddl_file.name} holds no instruction.")
    return " ".join(found.group(1).lower().split())


def _typed(tokens: list[str]) -> dict[str, str]:
    """`["a_1", "a_2", "-", "a", ...]` -> `{"a_1": "a", "a_2": "a", ...}`."""
    typed, waiting, tokens = {}, [], list(tokens)
    while tokens:
        token = tokens.pop(0)
        if token == "-":
            typed.update(dict.fromkeys(waiting, tokens.pop(0)))
            waiting = []
        else:
            waiting.append(token)
    return typed
