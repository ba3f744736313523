"""ManiSkill 3's WidowX tasks are what our environment and its fake say. See README.md in this folder.

    MS_ASSET_DIR=... PYTHONPATH=. python tests/external/check_simpler.py [--tasks 0 1 2 3] [--pictures DIR]

Prints a JSON object per task: errors of the labels against the simulator's own segmentation, and times.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
import json
from pathlib import Path
import sys
import time
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from inspire_fast.core.types import SceneFacts
from inspire_fast.envs.simpler.environment import SimplerEnvironment
from inspire_fast.envs.simpler.maniskill3 import CAMERA, ManiSkill3
from inspire_fast.envs.simpler.tasks import find_task
from inspire_fast.envs.simpler.testing import FakeManiSkill3
from inspire_fast.robots import ROBOTS

MOVES = np.array([[0.01, 0.02, -0.01, 0, 0, 0.1, 1], [0.0, -0.02, -0.02, 0, 0.1, 0, 0]] * 3, np.float32)


def leaves(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, tuple[int, ...], str]]:
    """Key, shape and type of every array."""
    for key, part in tree.items():
        if isinstance(part, Mapping):
            yield from leaves(part, f"{path}{key}/")
        else:
            array = np.asarray(part)
            yield f"{path}{key}", array.shape, str(array.dtype)


def check_layout(simulator: ManiSkill3, fake: FakeManiSkill3) -> None:
    """The fake's observation has the keys, shapes and types of the real one."""
    fake.reset(0, {"episode_id": 0})
    real = set(leaves(simulator._environment.get_obs(simulator._info)))
    ours = set(leaves(fake.get_obs(fake.get_info())))
    assert real == ours, f"only real: {sorted(real - ours)}; only fake: {sorted(ours - real)}"


def check_repeats(environment: SimplerEnvironment) -> float:
    """An episode is a function of its number, whatever ran before; its course, too. Returns the reset's seconds."""

    def course() -> list[np.ndarray]:
        environment.reset(3)
        look = environment.observe()
        for action in MOVES:
            environment.step(action)
        after = environment.observe()
        return [part[key] for part in (look, after) for key in ("observation/primary_image", "observation/state")]

    first = course()
    environment.reset(7)
    environment.step(MOVES[0])
    start = time.perf_counter()
    again = course()
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    return time.perf_counter() - start


def check_own_step(environment: SimplerEnvironment, simulator: ManiSkill3) -> None:
    """Stepping without rendering is the simulator's own step: the same state and picture."""
    environment.reset(1)
    for action in MOVES:
        environment.step(action)
    ours = environment.observe()
    environment.reset(1)
    recorded: list[np.ndarray] = []
    real, simulator._environment._step_action = simulator._environment._step_action, recorded.append
    for action in MOVES:
        environment.step(action)
    simulator._environment._step_action = real
    environment.reset(1)
    for command in recorded:
        observation, *_ = simulator._environment.step(command)
    picture = np.asarray(observation["sensor_data"][CAMERA]["rgb"])[0]
    np.testing.assert_array_equal(picture, ours["observation/primary_image"])


def check_labels(environment: SimplerEnvironment, simulator: ManiSkill3, episodes: int) -> dict[str, Any]:
    """Points inside their objects' pixels, boxes equal to theirs."""
    inside, boxes, seen = 0, 0.0, 0
    for episode in range(episodes):
        environment.reset(episode)
        environment.observe()
        facts, segmentation = environment.facts(), simulator._segmentation
        assert facts is not None
        assert segmentation is not None
        real = simulator._environment
        for target, name in zip(facts.targets, (real.source_obj_name, real.target_obj_name), strict=True):
            mask = segmentation == int(np.asarray(real.objs[name].per_scene_id)[0])
            if not mask.any() or target.point_px is None or target.box_px is None:
                continue
            y, x = (int(at * size) for at, size in zip(target.point_px, mask.shape, strict=True))
            rows, columns = np.nonzero(mask)
            whole = (rows.min() / 480, columns.min() / 640, (rows.max() + 1) / 480, (columns.max() + 1) / 640)
            inside += bool(mask[y, x])
            boxes = max(boxes, float(np.abs(np.subtract(target.box_px, whole)).max()))
            seen += 1
    return {"labels": seen, "point_in_mask": inside / max(seen, 1), "largest_box_error": boxes}


def check_turns(environment: SimplerEnvironment) -> float:
    """A commanded yaw turns the hand about the base's vertical: error of the state afterwards, rad."""
    environment.reset(0)
    before = environment.observe()["observation/state"]
    for step in range(12):
        environment.step(np.array([0, 0, 0, 0, 0, 0.1 if step < 4 else 0.0, 1], np.float32))
    after = environment.observe()["observation/state"]
    wanted = before[3:6] + np.array([0, 0, 0.4])
    return float(np.abs(after[3:6] - wanted).max())


def check_success(environment: SimplerEnvironment, simulator: ManiSkill3) -> bool:
    """An object that is put by hand onto its target is a success."""
    real = simulator._environment
    import sapien  # pyright: ignore[reportMissingImports]

    environment.reset(0)
    assert not environment.success
    source, target = real.objs[real.source_obj_name], real.objs[real.target_obj_name]
    place = np.asarray(target.pose.p)[0] + [0, 0, 0.03]
    source.set_pose(sapien.Pose(place, np.asarray(source.pose.q)[0]))
    for _ in range(8):
        environment.step(np.array([0, 0, 0, 0, 0, 0, 1], np.float32))
    return environment.success


def draw(environment: SimplerEnvironment, path: Path) -> None:
    """The picture with points, boxes and the gripper."""
    environment.reset(0)
    image = Image.fromarray(environment.observe()["observation/primary_image"])
    facts: SceneFacts | None = environment.facts()
    assert facts is not None
    pen, (width, height) = ImageDraw.Draw(image), image.size
    for target in facts.targets:
        if target.box_px is not None:
            y0, x0, y1, x1 = target.box_px
            pen.rectangle((x0 * width, y0 * height, x1 * width - 1, y1 * height - 1), outline="lime")
        if target.point_px is not None:
            y, x = target.point_px[0] * height, target.point_px[1] * width
            pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill="red")
            pen.text((x + 6, y - 6), target.phrase, fill="red")
    if facts.gripper_px is not None:
        y, x = facts.gripper_px[0] * height, facts.gripper_px[1] * width
        pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill="blue")
    image.save(path)


def times(environment: SimplerEnvironment, steps: int = 10) -> dict[str, float]:
    """Processor seconds per step and per observation, and steps per second of either way to run."""
    found: dict[str, float] = {}
    for name, every in (("chunks_of_4", 4), ("every_step", 1)):
        environment.reset(0)
        wall, processor = time.perf_counter(), time.process_time()
        for step in range(steps):
            if step % every == 0:
                environment.observe()
            environment.step(MOVES[step % len(MOVES)])
        found[f"{name}_steps_per_s"] = steps / (time.perf_counter() - wall)
        found[f"{name}_cpu_s_per_step"] = (time.process_time() - processor) / steps
    return found


def main() -> None:
    """Checks the tasks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--episodes", type=int, default=6)
    parser.add_argument("--pictures", type=Path)
    args = parser.parse_args()
    for number in args.tasks:
        task = find_task("simpler_widowx", number)
        start = time.perf_counter()
        simulator = ManiSkill3.make(task)
        environment = SimplerEnvironment(task, simulator)
        environment.reset(0)
        said: dict[str, Any] = {"task": task.name, "make_s": time.perf_counter() - start}
        fake = FakeManiSkill3(task)
        assert environment.prompt == fake.get_language_instruction()[0]
        ROBOTS["widowx_bridge"].canonical(environment.observe())
        check_layout(simulator, fake)
        said["course_s"] = check_repeats(environment)
        check_own_step(environment, simulator)
        said |= check_labels(environment, simulator, args.episodes)
        said["yaw_error_rad"] = check_turns(environment)
        said["success_when_placed"] = check_success(environment, simulator)
        said |= times(environment)
        if args.pictures is not None:
            args.pictures.mkdir(parents=True, exist_ok=True)
            draw(environment, args.pictures / f"{task.name}.png")
        environment.close()
        sys.stdout.write(f"{json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in said.items()})}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
