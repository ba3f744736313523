"""The targets of all 130 LIBERO tasks, as checked in: `target_table.json`, written by `envs.libero.make_target_table`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import functools
import importlib.resources
import json

from inspire_fast.core.registry import unknown_name
from inspire_fast.envs.libero.suites import Task
from inspire_fast.envs.libero.targets import Target

TABLE_FILE = "target_table.json"


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One task's instruction and targets, in the instruction's order."""

    suite: str
    task: str
    instruction: str
    targets: tuple[Target, ...]

    def __post_init__(self) -> None:
        if not self.targets:
            raise ValueError(f"{self.suite} task {self.task!r} has no targets in {TABLE_FILE}.")
        for target in self.targets:
            if (target.phrase in self.instruction) != (not target.alias):
                raise ValueError(
                    f"{self.suite} task {self.task!r}: {target.phrase!r} must stand in {self.instruction!r}, or have a "
                    f"reason why it does not, and not both; the reason is {target.alias!r}."
                )


def targets_of(task: Task) -> tuple[Target, ...]:
    """The task's targets.

    Raises:
        ValueError: the table does not know the task, or knows it under another instruction.
    """
    # Where LIBERO-PRO only changes places, the same things are meant.
    suite = task.suite.removesuffix("_swap")
    rows = {row.task: row for row in table() if row.suite == suite}
    if task.name not in rows:
        raise ValueError(unknown_name(f"task of {task.suite}", task.name, list(rows)))
    row = rows[task.name]
    if row.instruction != task.prompt:
        raise ValueError(
            f"{task.suite} task {task.name!r} says {task.prompt!r}; {TABLE_FILE} was made from {row.instruction!r}. "
            "Make it again: `python -m inspire_fast.envs.libero.make_target_table`."
        )
    return row.targets


@functools.cache
def table() -> tuple[TableRow, ...]:
    """Every task, in the order of suites and benchmark."""
    text = importlib.resources.files("inspire_fast.envs.libero").joinpath(TABLE_FILE).read_text(encoding="utf-8")
    return tuple(
        TableRow(
            suite=suite,
            task=row["task"],
            instruction=row["instruction"],
            targets=tuple(_target(target) for target in row["targets"]),
        )
        for suite, rows in json.loads(text).items()
        for row in rows
    )


def _target(fields: Mapping[str, object]) -> Target:
    values = dict(fields)
    if "offset_m" in values:
        values["offset_m"] = tuple(values["offset_m"])  # pyright: ignore[reportArgumentType]
    return Target(**values)  # pyright: ignore[reportArgumentType]
