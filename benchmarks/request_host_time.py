"""Host milliseconds per request of a policy, by phase: `uv run python benchmarks/request_host_time.py`.

One idle client, in process; the `tiny` network with random weights, LIBERO's observations with 224 px images, the
`inspire` script. Phases exclude each other:

- observation: checks, conversion and resizing of the observation;
- grounding: the targets in the instruction;
- layout: unrolling and encoding the dialogue, answers in the prompt, padding, tables;
- rest: normalisation, stacking, caches, reading answers and actions out of the result.

The compiled program is no host time. It runs once; then its result is replayed, so that the benchmark takes seconds.
Times are CPU time of the calling thread, which other processes on the machine hardly change. The last line is one JSON
object: medians in milliseconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
import json
import statistics
import sys
import time
from typing import Any

import tyro

from inspire_fast.data.training_transform import ModelInput
from inspire_fast.dialogue.grounding.registry import GROUNDINGS
from inspire_fast.policy import decoder as decoder_module
from inspire_fast.policy.decoder import Decoder
from inspire_fast.policy.policy import InspirePolicy
from inspire_fast.policy.testing import tiny_policy
from inspire_fast.robots.spec import Robot

PHASES = ("observation", "grounding", "layout", "rest")


@dataclass(frozen=True, kw_only=True)
class Args:
    """What is measured.

    Attributes:
        preset: the network.
        requests: how many of them.
    """

    preset: str = "tiny"
    requests: int = 400


@dataclass(frozen=True, kw_only=True)
class PhaseClock:
    """Adds up the time of timed calls; a call inside another one counts for the inner one only."""

    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _open: list[tuple[str, int]] = field(default_factory=list)

    def timed(self, phase: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, whose time counts for `phase`."""

        def measured(*args: Any, **options: Any) -> Any:
            self._charge()
            self._open.append((phase, time.thread_time_ns()))
            try:
                return call(*args, **options)
            finally:
                self._charge()
                self._open.pop()
                if self._open:
                    self._open[-1] = (self._open[-1][0], time.thread_time_ns())

        return measured

    def _charge(self) -> None:
        if self._open:
            phase, since = self._open[-1]
            self.spent[phase] += (time.thread_time_ns() - since) / 1e6


def instrument(policy: InspirePolicy, clock: PhaseClock) -> None:
    """Times the calls that make up each phase, and replays the program's result."""
    for owner, name, phase in (
        (Robot, "canonical", "observation"),
        (ModelInput, "images", "observation"),
        (GROUNDINGS[policy.script.grounding], "ground", "grounding"),
        (decoder_module, "plan_row", "layout"),
        (decoder_module, "sizes_of", "layout"),
        (decoder_module, "lay_out", "layout"),
        (InspirePolicy, "_with_answers", "layout"),
        (InspirePolicy, "infer", "rest"),
    ):
        # Frozen instances refuse a plain setattr; classes and modules refuse object's.
        put = setattr if isinstance(owner, type) or owner is decoder_module else object.__setattr__
        put(owner, name, clock.timed(phase, getattr(owner, name)))
    results: list[Any] = []
    program = getattr(Decoder, "_run")  # noqa: B009 (private)

    def replay(decoder: Decoder, *args: Any) -> Any:
        if not results:
            results.append(program(decoder, *args))
        return results[0]

    setattr(Decoder, "_run", clock.timed("program", replay))  # noqa: B010 (a method is assigned to)


def main(args: Args) -> None:
    """Prints the medians."""
    policy = tiny_policy(preset=args.preset)
    clock = PhaseClock()
    instrument(policy, clock)
    observations = [policy.robot.fake_native(seed, image_hw=(224, 224)) for seed in range(8)]
    rows: list[dict[str, float]] = []
    for number in range(args.requests + 20):  # the first ones fill caches
        clock.spent.clear()
        policy.infer(observations[number % len(observations)])
        rows.append(dict(clock.spent))
    rows = rows[20:]
    figures = {f"{phase}_ms": statistics.median(row[phase] for row in rows) for phase in PHASES}
    figures["host_ms"] = statistics.median(sum(row[phase] for phase in PHASES) for row in rows)
    for name, value in figures.items():
        sys.stdout.write(f"{name:16} {value:8.3f}\n")
    sys.stdout.write(json.dumps({"preset": args.preset, **{k: round(v, 4) for k, v in figures.items()}}) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Args))
