"""Real simulated episodes with the truth about every target, kept so that agreement is measured without a simulator.

`data/simulated.npz` holds the first fixed initial state of each of `TASKS`, solved by the expert `carry_out`, as
`labeling.hindsight.validation.simulate` gives them (state, offset_m and grasped per step, prompt, phrases). To make it
again, with the simulator installed::

    uv run python -m tests.labeling.simulated
"""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from inspire_fast.labeling.hindsight.validation import SimulatedEpisode, simulate

PATH = Path(__file__).parent / "data" / "simulated.npz"
TASKS = (
    *(("libero_spatial", task) for task in (0, 2)),
    *(("libero_object", task) for task in (0, 6)),
    *(("libero_goal", task) for task in (0, 4, 7)),  # 0: a drawer is opened, 7: a knob is turned
    *(("libero_10", task) for task in (0, 7)),  # two things are carried, one after the other
    *(("libero_90", task) for task in (0, 46, 58)),  # 0: a drawer is pushed shut
)


def save(episodes: list[SimulatedEpisode], path: Path = PATH) -> None:
    """Writes one compressed file."""
    arrays = {
        f"{number}:{field.name}": getattr(episode, field.name)
        for number, episode in enumerate(episodes)
        for field in fields(episode)
    }
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, **arrays)


def load(path: Path = PATH) -> list[SimulatedEpisode]:
    """Reads them back, in their order."""
    episodes: dict[int, dict[str, Any]] = {}
    with np.load(path, allow_pickle=False) as archive:
        for key in archive.files:
            number, name = key.split(":")
            value = archive[key]
            episodes.setdefault(int(number), {})[name] = value.item() if value.ndim == 0 else value
    for episode in episodes.values():
        episode["phrases"] = tuple(str(phrase) for phrase in episode["phrases"])
    return [SimulatedEpisode(**episodes[number]) for number in sorted(episodes)]


if __name__ == "__main__":
    recorded = [episode for suite, task in TASKS for episode in simulate(suite, task, range(1))]
    unsolved = [(e.suite, e.task) for e in recorded if not e.success]
    if unsolved:
        raise SystemExit(f"The expert did not solve {unsolved}: not kept.")
    save(recorded)
