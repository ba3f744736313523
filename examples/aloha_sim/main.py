"""Runs episodes of a policy in gym-aloha, the simulated ALOHA (cube transfer, insertion), through a policy server.

python examples/aloha_sim/main.py --policy 127.0.0.1:8000 [--task transfer_cube] [--episodes 1] [--gif FILE]

Needs the base install and gym-aloha in an environment of its own (requirements.txt beside this file); no JAX.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
import json
import logging
import os
from pathlib import Path
import sys
from typing import Any

import numpy as np
from PIL import Image

from inspire_fast.client import PolicyClient, PolicyClientError
from inspire_fast.core.types import SceneFacts
from inspire_fast.robots import ROBOTS, LoopConfig, SafetyFilter, run_episode
from inspire_fast.robots.aloha import motor_targets, state_of_motors
from inspire_fast.robots.cameras.resize import resize_with_pad

TASKS = {  # of words in which policies with questions find their targets
    "transfer_cube": "pick up the cube",
    "insertion": "insert the peg in the socket",
}
ROBOT = ROBOTS["aloha"]
_SUCCESS = 4  # gym-aloha's reward of a solved task
# As fast as a ViperX can turn, per step of 20 ms: jumps across the whole range make the simulation unstable.
_MAX_CHANGE = ((0.063,) * 6 + (0.1,)) * 2


class AlohaSim:
    """See `Environment`: both arms and the camera from above, `images/cam_high`; the wrists have none here.

    The simulator commands a gripper's linear opening, ALOHA's actions its motor: converted by the mechanism's geometry.

    Args:
        task: transfer_cube or insertion.
        prompt: the instruction.
        seed: episode `n` places its objects by seed + n.
    """

    def __init__(self, task: str, *, prompt: str, seed: int = 0) -> None:
        os.environ.setdefault("MUJOCO_GL", "egl")
        from gym_aloha.env import AlohaEnv  # pyright: ignore[reportMissingImports]

        self._env = AlohaEnv(task, obs_type="pixels_agent_pos")
        self.prompt, self._seed = prompt, seed
        self._seen: Mapping[str, Any] = {}
        self.reward = 0
        self.frames: list[np.ndarray] = []

    def reset(self, episode: int) -> None:
        """See `Environment`."""
        self._seen, _ = self._env.reset(seed=self._seed + episode)
        self.reward, self.frames = 0, [self._picture()]

    def observe(self) -> Mapping[str, Any]:
        """See `Environment`."""
        picture = resize_with_pad(self._picture(), 224, 224)
        state = np.asarray(self._seen["agent_pos"], np.float32)
        return {"images": {"cam_high": np.moveaxis(picture, -1, 0)}, "state": state, "prompt": self.prompt}

    def step(self, action: np.ndarray) -> np.ndarray:
        """See `Environment`."""
        self._seen, reward, *_ = self._env.step(state_of_motors(motor_targets(action)))
        self.reward = max(self.reward, int(reward))
        self.frames.append(self._picture())
        return action

    @property
    def success(self) -> bool:
        """The task's last stage was reached."""
        return self.reward == _SUCCESS

    def facts(self) -> SceneFacts | None:
        """None: gym-aloha's objects have no phrases."""
        return None

    def close(self) -> None:
        """See `Environment`."""
        self._env.close()

    def _picture(self) -> np.ndarray:
        return self._seen["pixels"]["top"]


def write_gif(path: Path, frames: Sequence[np.ndarray], *, every: int = 2, hz: float = 50.0) -> None:
    """An animation of pictures `[h, w, 3]`, half as large."""
    shown = [Image.fromarray(frame).reduce(2) for frame in frames[::every]]
    shown[0].save(path, save_all=True, append_images=shown[1:], duration=round(1e3 * every / hz), loop=0)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add("--policy", default="127.0.0.1:8000", help="address of the policy server")
    add("--task", choices=sorted(TASKS), default="transfer_cube")
    add("--prompt", help="by default one of the task")
    add("--episodes", type=int, default=1)
    add("--seed", type=int, default=0, help="of the objects' places")
    add("--max-steps", type=int, default=300)
    add("--execute", type=int, default=25, help="actions of each chunk")
    add("--gif", type=Path, help="animation of the last episode")
    return made


def run(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Runs the episodes; a row each."""
    rows: list[dict[str, Any]] = []
    config = LoopConfig(execute=args.execute, max_steps=args.max_steps, simulated=True)
    with PolicyClient(args.policy, connect_timeout_s=30.0) as policy:
        environment = AlohaSim(args.task, prompt=args.prompt or TASKS[args.task], seed=args.seed)
        for episode in range(args.episodes):
            result = run_episode(
                environment,
                policy.infer,
                config,
                safety=SafetyFilter(robot=ROBOT, max_change=_MAX_CHANGE),
                episode=episode,
            )
            rows.append(
                {
                    "episode": episode,
                    "success": result.success,
                    "reward": environment.reward,
                    "steps": result.steps,
                    "stopped": result.stopped,
                    "reason": result.reason,
                    "infer_ms": round(result.timing["infer_ms_mean"], 1),
                    "step_ms": round(result.timing["step_ms_mean"], 1),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
        if args.gif is not None:
            write_gif(args.gif, environment.frames)
        environment.close()
    return rows


def main(args: Sequence[str] | None = None) -> None:
    """Exit status 1: no server, another robot's policy, or gym-aloha is missing."""
    logging.basicConfig(level=logging.WARNING)
    given = parser().parse_args(args)
    try:
        rows = run(given)
    except ModuleNotFoundError as error:
        sys.exit(f"error: {error}. pip install -r examples/aloha_sim/requirements.txt, in an environment of its own")
    except (PolicyClientError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"{sum(row['success'] for row in rows)} of {len(rows)} episodes solved")


if __name__ == "__main__":
    main()
