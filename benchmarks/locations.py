"""Locations: labels of points, boxes and traces against the simulator, and a trained network's answers.

    uv run python benchmarks/locations.py [--quick] [--pictures DIR] [--network CHECKPOINT]

A hand-made motion (to the first target, the fingers close, up) is executed in tasks of every LIBERO suite and stored as
a dataset with recordings, which `label_dataset.py replay --boxes` labels. The labels are read from the file as robot
`libero` sees them (pictures turned by 180 degrees) and as `libero_front` does (flipped), and compared with truth that
shares no code with them:

- points and boxes: a ray is cast from the camera through every pixel, and through the labelled point itself, and hits
  a visible shape of the target or not (mujoco's `mj_multiRay`; no picture is drawn);
- traces: at every step a small ball is drawn at the gripper, alone, and found in the picture; the labelled points are
  compared with 8 points that divide its path up to the next gripper event into parts of equal length.

The network is a small one that was trained by the named config `st4vla_ground_small` and comes with the package;
`location_network.py` asks it in new episodes of tasks that it was trained on, and of others.

`--quick` takes one task per suite, otherwise 24, and of the network's tasks 3 and 1 with two episodes each, otherwise 8
and 2 with four. The last line is one JSON object.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
import importlib
from itertools import pairwise
import json
from pathlib import Path
import sys
import tempfile
from typing import Any

import location_network
import numpy as np
from PIL import Image
from tqdm import tqdm
import tyro

from inspire_fast.checkpoints.remote import SHIPPED
from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.data.facts import FactsTable
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.writer import DatasetWriter
from inspire_fast.envs.libero.camera import VIEWS, Cameras
from inspire_fast.envs.libero.domain import LiberoSettings
from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.envs.libero.scene_cache import SceneCache
from inspire_fast.envs.libero.targets import Target
from inspire_fast.labeling.demonstrations import replay as replay_module
from inspire_fast.labeling.demonstrations.replay import Replay
from inspire_fast.labeling.labeler import label_dataset
from inspire_fast.robots import ROBOTS
from inspire_fast.robots.libero import LIBERO
from inspire_fast.training.inspection.page import draw_facts

# Python looks for packages in the script's folder first, where `libero.py` is another benchmark.
sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]
TASKS = (
    *(("libero_spatial", task) for task in (0, 2, 5, 9)),
    *(("libero_object", task) for task in (0, 3, 6, 9)),
    *(("libero_goal", task) for task in (0, 3, 7, 9)),
    *(("libero_10", task) for task in (0, 2, 6, 9)),
    *(("libero_90", task) for task in (0, 11, 22, 33, 46, 58, 70, 84)),
)
QUICK = (("libero_spatial", 0), ("libero_object", 3), ("libero_goal", 7), ("libero_10", 9), ("libero_90", 46))
ROBOTS_LABELLED = ("libero", "libero_front")
SIDE, REACH, CLOSE, LIFT, EVERY = 224, 14, 14, 8, 12  # pixels; steps of the motion; a picture every 12 steps
FRONT = VIEWS["observation/image"]


@dataclass(frozen=True, kw_only=True)
class Args:
    """Options of the benchmark.

    Attributes:
        quick: one task per suite: at most five minutes.
        pictures: folder for drawings; None: none.
        network: a run of `st4vla_ground_small` whose held-out samples were evaluated; the shipped one by default.
    """

    quick: bool = False
    pictures: Path | None = None
    network: Path = SHIPPED["st4vla_ground"]


@dataclass
class Found:
    """What the comparisons found: one number per label."""

    in_mask: list[bool] = field(default_factory=list)
    box_iou: list[float] = field(default_factory=list)
    trace_px: list[float] = field(default_factory=list)
    wrongly_hidden: int = 0


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Truth of one task: per step, the ball's place `[n, 2]`, (y, x) px in the turned picture; rays by frame."""

    ball_px: np.ndarray
    shapes: dict[int, np.ndarray]
    rays: dict[int, Rays]
    event: int


@dataclass(frozen=True, kw_only=True)
class Rays:
    """A camera and the shapes before it, at one instant; answers which shape a ray hits first."""

    model: Any
    data: Any
    position: np.ndarray
    axes: np.ndarray
    half: float

    def hit(self, places: np.ndarray) -> np.ndarray:
        """Shapes at places `[n, 2]`, (y, x) 0..1 of the picture turned by 180 degrees; -1: none."""
        mujoco: Any = importlib.import_module("mujoco")
        # In the turned picture, right is the camera's left, and up is up.
        right, up = 1 - 2 * places[:, 1], 1 - 2 * places[:, 0]
        local = np.stack([right * self.half, up * self.half, -np.ones(len(places))], axis=1)
        world = (local / np.linalg.norm(local, axis=1, keepdims=True)) @ self.axes.T
        shapes, lengths = np.full(len(places), -1, np.int32), np.zeros(len(places))
        groups = np.array([0, 1, 0, 0, 0, 0], np.uint8)
        arguments = (self.position, world.ravel(), groups, 1, -1, shapes, lengths)
        mujoco.mj_multiRay(self.model, self.data, *arguments, len(places), mujoco.mjMAXVAL)
        return shapes


def owner_of(target: Target) -> str | None:
    """The body whose subtree the phrase means, told by its words alone; None for compartments."""
    words = target.phrase.split(" of ")[0].split(" in ")[0].split(" on ")[0]
    if "compartment" in words:
        return None
    return target.body if "drawer" in words or "button" in words else f"{target.owner}_main"


def belongs(model: Any, shapes: np.ndarray, target: Target) -> np.ndarray | None:
    """Whether shapes are the target's: going up from their body, one meets its body."""
    name = owner_of(target)
    if name is None:
        return None
    wanted, found = model.body(name).id, np.zeros(shapes.shape, bool)
    for shape in np.unique(shapes[shapes >= 0]):
        body = model.geom_bodyid[shape]
        while body not in (0, wanted):
            body = model.body_parentid[body]
        found[shapes == shape] = body == wanted
    return found


def ball_px(cameras: Cameras, data: Any, place_m: np.ndarray) -> np.ndarray:
    """Where a picture shows a ball of a centimetre at a place when nothing else is drawn, (y, x) px; NaN: nowhere."""
    mujoco: Any = importlib.import_module("mujoco")

    def alone(scene: Any) -> None:
        scene.ngeom = 1
        ball, colour = mujoco.mjtGeom.mjGEOM_SPHERE, np.array([1, 1, 1, 1], np.float32)
        mujoco.mjv_initGeom(scene.geoms[0], ball, np.full(3, 0.01), place_m, np.eye(3).ravel(), colour)
        scene.geoms[0].emission = 1.0
        before.append((scene.flags, scene.flags.copy()))
        scene.flags[mujoco.mjtRndFlag.mjRND_SKYBOX] = 0

    before: list[tuple[np.ndarray, np.ndarray]] = []
    cameras.decorate = alone
    bright = cameras.render(data, FRONT).sum(axis=-1, dtype=int) > 100  # black is all the rest
    cameras.decorate = None
    for flags, old in before:
        flags[:] = old
    return np.array(np.nonzero(bright)).mean(axis=1) + 0.5 if bright.any() else np.full(2, np.nan)


def move(environment: LiberoEnvironment) -> Iterator[np.ndarray]:
    """To the first target, the fingers close, up."""
    for _ in range(REACH):
        offset = environment.target_m(environment.targets[0]) - environment.gripper_m() + [0, 0, 0.05]
        yield np.array([*np.clip(offset * 8, -1, 1), 0, 0, 0, -1])
    for _ in range(CLOSE):
        yield np.array([0, 0, 0, 0, 0, 0, 1.0])
    for step in range(LIFT):
        yield np.array([0.3, -0.5 if step % 2 else 0.5, 1, 0, 0, 0, 1.0])


def record(environment: LiberoEnvironment, root: Path) -> Seen:
    """Executes the motion, stores dataset and recording, and collects the truth."""
    environment.reset(0)
    model = environment.simulator.sim.model._model  # noqa: SLF001  (mujoco's own)
    rows: dict[str, list[Any]] = {"state": [], "actions": [], "image": []}
    states, balls, shapes, rays = [], [], {}, {}
    grid = (np.stack([*np.mgrid[:SIDE, :SIDE]], axis=-1).reshape(-1, 2) + 0.5) / SIDE
    for step, action in enumerate(move(environment)):
        data = environment.simulator.sim.data._data  # noqa: SLF001
        states.append(environment.simulator_state())
        balls.append(ball_px(environment.cameras(), data, environment.gripper_m()))
        if step % EVERY == 0:
            rays[step] = rays_of(model, data)
            shapes[step] = rays[step].hit(grid).reshape(SIDE, SIDE)
            picture = environment.cameras().render(data, FRONT)
        rows["image"].append(picture)
        rows["state"].append(environment.state())
        rows["actions"].append(environment.step(action).astype(np.float32))
    store(environment, rows, np.array(states), root)
    opening = np.ptp(np.array(rows["state"])[:, -2:], axis=1)
    # The fingers have come to rest where they are within 4 % of the widest opening (see `GripperSignal`) of their end.
    still = np.abs(opening[REACH:] - opening[REACH + CLOSE - 1]) <= 0.04 * opening[0]
    return Seen(ball_px=np.array(balls), shapes=shapes, rays=rays, event=REACH + int(np.argmax(still)))


def rays_of(model: Any, data: Any) -> Rays:
    """Rays of the front camera at this instant; the simulator may go on afterwards."""
    mujoco: Any = importlib.import_module("mujoco")
    camera, copy = model.camera(FRONT).id, mujoco.MjData(model)
    copy.qpos[:] = data.qpos
    mujoco.mj_forward(model, copy)
    axes = copy.cam_xmat[camera].reshape(3, 3)
    half = float(np.tan(np.deg2rad(model.cam_fovy[camera]) / 2))
    return Rays(model=model, data=copy, position=copy.cam_xpos[camera], axes=axes, half=half)


def store(environment: LiberoEnvironment, rows: dict[str, list[Any]], states: np.ndarray, root: Path) -> None:
    """A LeRobot dataset of one episode, and its recording."""
    features = {
        "image": {"dtype": "image", "shape": (SIDE, SIDE, 3)},
        "state": {"dtype": "float32", "shape": (8,), "names": list(ROBOTS["libero"].state_names)},
        "actions": {"dtype": "float32", "shape": (7,), "names": list(ROBOTS["libero"].action_names)},
        "image_age_s": {"dtype": "float32", "shape": (1,)},
    }
    age = (np.arange(len(states)) % EVERY / 20).astype(np.float32)[:, None]
    columns = {name: np.stack(values) for name, values in rows.items()}
    with DatasetWriter(root, fps=20, robot_type="libero", features=features) as writer:
        writer.add_episode({**columns, "image_age_s": age}, task=environment.prompt)
    (root / "recordings").mkdir()
    named = {"suite": environment.task.suite, "task": environment.task.index}
    np.savez(root / "recordings" / "episode_000000.npz", **named, states=states)


def compare(seen: Seen, table: FactsTable, targets: tuple[Target, ...], robot: str, found: Found) -> None:
    """Adds the comparisons of one task's labels."""
    front = robot == "libero_front"
    for frame, shapes in seen.shapes.items():
        facts = table.facts(0, frame)
        assert facts is not None
        for target, fact in zip(targets, facts.targets, strict=True):
            compare_target(seen.rays[frame], shapes, target, fact, front=front, found=found)
    for frame in range(len(seen.ball_px) - 1):
        facts = table.facts(0, frame)
        assert facts is not None
        expected = equal_parts(seen.ball_px[frame : (seen.event if frame < seen.event else len(seen.ball_px) - 1) + 1])
        if facts.trace_px is not None and expected is not None:
            labelled = mirrored(facts.trace_px.astype(float), front=front) * SIDE
            found.trace_px.append(float(np.linalg.norm(labelled - expected, axis=1).mean()))


def compare_target(
    rays: Rays, shapes: np.ndarray, target: Target, fact: TargetFacts, *, front: bool, found: Found
) -> None:
    """Adds the comparisons of one target in one frame."""
    mask = belongs(rays.model, shapes, target)
    if mask is None:
        return
    if fact.box_px is None or fact.point_px is None:
        found.wrongly_hidden += int(np.count_nonzero(mask) > 16)
        return
    hit = belongs(rays.model, rays.hit(mirrored(np.array([fact.point_px]), front=front)), target)
    found.in_mask.append(bool(hit is not None and hit[0]))
    rows, columns = np.nonzero(mask)
    true = np.array([rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]) / SIDE
    corners = mirrored(np.array(fact.box_px).reshape(2, 2), front=front)
    box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    inner = np.prod(np.clip(np.minimum(true[2:], box[2:]) - np.maximum(true[:2], box[:2]), 0, None))
    outer = np.prod(true[2:] - true[:2]) + np.prod(box[2:] - box[:2]) - inner
    found.box_iou.append(float(inner / outer))


def mirrored(places: np.ndarray, *, front: bool) -> np.ndarray:
    """Places `[n, 2]` of a flipped picture in the turned one: left and right change places."""
    return np.stack([places[:, 0], 1 - places[:, 1]], axis=1) if front else places


def equal_parts(path: np.ndarray, parts: int = 8) -> np.ndarray | None:
    """Points that divide a path of pixels `[n, 2]` into equal parts, found on 100 points per step."""
    if np.isnan(path).any():
        return None
    fine = np.concatenate([np.linspace(a, b, 100, endpoint=False) for a, b in pairwise(path)] + [path[-1:]])
    along = np.concatenate([[0], np.linalg.norm(np.diff(fine, axis=0), axis=1).cumsum()])
    return fine[[int(np.argmin(np.abs(along - along[-1] * part / parts))) for part in range(1, parts + 1)]]


def drawn(dataset: LeRobotDataset, table: FactsTable, frame: int, robot: str) -> np.ndarray:
    """One labelled picture as the robot's model sees it."""
    picture = dataset.row(frame, ["image"])["image"]
    facts: SceneFacts | None = table.facts(0, frame)
    return draw_facts(picture[:, ::-1] if robot == "libero_front" else picture, facts, "base_0_rgb", scale=2)


def check_task(suite: str, task: int, found: Found) -> np.ndarray:
    """Adds the comparisons of one task; returns its labelled pictures, one robot's below the other's."""
    settings = LiberoSettings(camera_hw=(SIDE, SIDE), render_quality="reduced")
    environment = LiberoEnvironment(suite, task, settings)
    with tempfile.TemporaryDirectory() as folder, closing(environment):
        root = Path(folder) / "set"
        seen = record(environment, root)
        dataset = LeRobotDataset(root)
        # One simulator per task is enough: building another would take most of the time.
        replay_module.SceneCache = lambda *_: SceneCache(given=environment)
        label_dataset(dataset, Replay(recordings=root / "recordings", boxes=True), robot=LIBERO, progress=False)
        rows = []
        for robot in ROBOTS_LABELLED:
            table = FactsTable.load(root).in_orientation(ROBOTS[robot].image_orientation)
            compare(seen, table, environment.targets, robot, found)
            rows.append(np.concatenate([drawn(dataset, table, frame, robot) for frame in seen.shapes], axis=1))
    return np.concatenate(rows)


def main(args: Args) -> None:
    """Prints the figures and, last, one JSON object."""
    chosen, found = QUICK if args.quick else TASKS, Found()
    for suite, task in tqdm(chosen, desc="tasks", mininterval=10):
        picture = check_task(suite, task, found)
        if args.pictures is not None:
            args.pictures.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(args.pictures / f"{suite}-{task:02d}.png")
    print(f"{len(chosen)} tasks, each read for {' and '.join(ROBOTS_LABELLED)}")
    print(f"points inside: {sum(found.in_mask)} of {len(found.in_mask)}; hidden but seen: {found.wrongly_hidden}")
    print(f"boxes: IoU mean {np.mean(found.box_iou):.4f}, worst {min(found.box_iou):.3f}, {len(found.box_iou)} boxes")
    print(
        f"traces: px mean {np.mean(found.trace_px):.3f}, worst {max(found.trace_px):.3f}, {len(found.trace_px)} paths"
    )
    figures: dict[str, float | None] = {
        "label_point_in_mask": round(float(np.mean(found.in_mask)), 4),
        "label_box_iou": round(float(np.mean(found.box_iou)), 4),
        "label_trace_error_px": round(float(np.mean(found.trace_px)), 4),
        "label_wrongly_hidden": found.wrongly_hidden,
        "label_tasks": len(chosen),
    }
    print(json.dumps(figures | of_network(args)))


def of_network(args: Args) -> dict[str, float | None]:
    """Figures of the trained network."""
    seen, unseen, episodes = ((0, 3, 6), (8,), 2) if args.quick else (tuple(range(8)), (8, 9), 4)
    figures, picture = location_network.measure(args.network, seen, unseen, episodes)
    if args.pictures is not None:
        Image.fromarray(picture).save(args.pictures / "network.png")
    return figures


if __name__ == "__main__":
    main(tyro.cli(Args))
