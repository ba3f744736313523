"""Executes recorded LIBERO demonstrations again, action by action, and counts those that reach success again.

    uv run scripts/replay_demonstrations.py runs/demo/dataset.episodes

Nothing is rendered. The last line is one JSON object.
"""

from dataclasses import dataclass
from itertools import groupby
import json
from pathlib import Path
import sys

import numpy as np
import tyro

from inspire_fast.envs.libero import LiberoEnvironment
from inspire_fast.labeling.episode import RecordedEpisode, load_episode


@dataclass(frozen=True, kw_only=True)
class Args:
    """What to replay.

    Attributes:
        folder: `<root>.episodes` of `record_demonstrations.py`.
    """

    folder: tyro.conf.Positional[Path]


def main(args: Args) -> None:
    """Replays scene by scene."""
    spec = json.loads((args.folder / "recording.json").read_text())
    episodes = [load_episode(path) for path in sorted(args.folder.glob("*.npz"))]
    solved, furthest = 0, 0.0
    for (suite, task), group in groupby(episodes, key=lambda episode: (episode.suite, episode.task)):
        environment = LiberoEnvironment(suite, task, seed=spec["seed"], initial_states=spec["initial_states"])
        for episode in group:
            success, apart = replay(environment, episode)
            solved, furthest = solved + success, max(furthest, apart)
            print(
                f"{suite}:{task} episode {episode.episode}: {'solved' if success else 'NOT solved'}, {apart:.2g} apart"
            )
        environment.close()
    print(json.dumps({"replayed": len(episodes), "solved_again": solved, "largest_state_difference": furthest}))


def replay(environment: LiberoEnvironment, episode: RecordedEpisode) -> tuple[bool, float]:
    """Whether it is solved again, and how far the states were from the recorded ones (metres, radians)."""
    environment.reset(episode.episode)
    apart = 0.0
    for state, action in zip(episode.state, episode.actions, strict=True):
        apart = max(apart, float(np.abs(environment.state() - state).max()))
        environment.step(action)
    return environment.success, apart


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
