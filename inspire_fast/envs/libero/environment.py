"""The real LIBERO simulator as an `Environment`, headless on a CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from inspire_fast.core.types import SceneFacts
from inspire_fast.envs.libero.camera import VIEWS, Cameras
from inspire_fast.envs.libero.domain import PLACEMENT_ATTEMPTS, LiberoSettings, draw_placement, make_domain
from inspire_fast.envs.libero.observation_time import Sampled
from inspire_fast.envs.libero.seeding import Placements
from inspire_fast.envs.libero.segmentation import with_boxes
from inspire_fast.envs.libero.suites import Problem, find_task
from inspire_fast.envs.libero.target_table import targets_of
from inspire_fast.envs.libero.targets import Target
from inspire_fast.envs.libero.truth import axis_angle, box_m, point_m, scene_facts
from inspire_fast.robots.libero import LIBERO

SETTLE_ACTION = np.array([0, 0, 0, 0, 0, 0, -1], dtype=np.float32)
_SLIDE_M = 0.02  # a drawn placement is rejected if an object slides further than this while settling
_REST_M, _REST_STEPS = 0.001, 60  # at rest: no object moves further than this in a step; longest wait


class LiberoEnvironment:
    """One LIBERO task. Stepping never renders; `observe()` does.

    An episode is a function of `(task, settings, episode)` alone, whatever ran before: LIBERO draws the poses of
    fixtures (which are *not* part of its initial states) from numpy's global generator, so each reset seeds that
    generator and restores it afterwards.

    Args:
        suite: one of `suites.SUITES`.
        task: number (the benchmark's order) or name.
        settings: see `LiberoSettings`.

    Attributes:
        task: the loaded task.
        prompt: its instruction.
        problem: things of the scene, and the goal.
        targets: meanings of the instruction's phrases in this scene; empty if they are not known.
        unlabelled: the reason why the targets are not known and `facts()` is None; else empty.

    Raises:
        ValueError: unknown suite or task.
        ImportError: the simulator is not installed; names the command that installs it.
        RenderingUnavailableError: no OpenGL back end works without a screen; names the packages.
    """

    def __init__(
        self, suite: str = "libero_object", task: int | str = 0, settings: LiberoSettings | None = None
    ) -> None:
        self._settings = settings = settings or LiberoSettings()
        self.task = find_task(suite, task)
        fixed = settings.initial_states == "fixed"
        # Randomized placements are drawn for each episode, whatever fixtures do.
        self._placements = Placements(
            settings.seed,
            settings.fixture_seeding if fixed else "episode",
            lambda: draw_placement(self.simulator, self.task.name),
        )
        self._states = self.task.initial_states() if fixed else None
        self._cameras: Cameras | None = None
        self._success = self._ready = False
        self.prompt = self.task.prompt
        self.problem: Problem = self.task.problem()
        self._domain: Any = make_domain(self.task, seed=settings.seed)
        self._sampled = Sampled(self._domain) if settings.sampling == "robosuite" else None
        self.targets: tuple[Target, ...] = ()
        self.unlabelled = ""
        try:
            self.targets = targets_of(self.task)
        except ValueError as error:
            self.unlabelled = str(error)

    @property
    def movable(self) -> tuple[str, ...]:
        """Objects that are not fixtures."""
        return tuple(self.simulator.objects_dict)

    @property
    def bodies(self) -> tuple[str, ...]:
        """Objects and fixtures that have a shape (see `bounds_m`): all except tables and floors."""
        return (*self.movable, *self.simulator.fixtures_dict)

    @property
    def success(self) -> bool:
        """The goal held after the last step (or after the reset)."""
        return self._success

    @property
    def simulator(self) -> Any:
        """LIBERO's own environment, for code that reads or changes its state.

        Raises:
            RuntimeError: after `close`.
        """
        if self._domain is None:
            raise RuntimeError("This environment is closed; create a new LiberoEnvironment.")
        return self._domain

    def unmet(self) -> tuple[tuple[str, ...], ...]:
        """The goal's predicates that do not hold now."""
        return tuple(predicate for predicate in self.problem.goal if not self.simulator._eval_predicate(predicate))

    def reset(self, episode: int) -> None:
        """Starts an episode: places fixtures and objects, and lets them settle.

        Raises:
            ValueError: `episode` is negative, or no fixed initial state has that number.
            RuntimeError: no stable placement was drawn.
        """
        if episode < 0 or (self._states is not None and episode >= len(self._states)):
            count = "" if self._states is None else f" of the {len(self._states)} fixed initial states (0-based)"
            raise ValueError(
                f"{self.task.suite}: no episode {episode}{count}. With initial_states='randomized' every number exists."
            )
        for attempt in range(PLACEMENT_ATTEMPTS):
            self._place(episode, attempt)
            placed = self._movable_m()
            for _ in range(self._settings.settle_steps):
                self.step(SETTLE_ACTION)
            if self._states is not None:
                return
            if self._at_rest() and np.abs(self._movable_m() - placed)[:, :2].max(initial=0.0) < _SLIDE_M:
                return
        raise RuntimeError(f"{self.task.name}: no stable placement of the objects in {PLACEMENT_ATTEMPTS} attempts.")

    def restore(self, state: np.ndarray, fixtures: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None) -> None:
        """Puts the simulator into a recorded state, after a `reset`.

        Args:
            state: `[time + qpos + qvel]`, as in LIBERO's demonstrations (`states`) and initial states.
            fixtures: root body -> position `[3]` and quaternion `[4]` (w x y z) of fixtures, which are not part of a
                state; the others stay as the reset drew them.

        Raises:
            ValueError: a state of another length (another scene), NaN or infinity, or an unknown fixture.
            RuntimeError: before the first reset.
        """
        domain = self.simulator
        if not self._ready:
            raise RuntimeError("Call reset(episode) before restore().")
        size = domain.sim.get_state().flatten().shape
        if np.shape(state) != size or not np.isfinite(state).all():
            raise ValueError(
                f"A state of {self.task.suite} task {self.task.index} is a finite vector {size}; got "
                f"{np.shape(state)}, finite: {bool(np.isfinite(state).all())}. Was it recorded in this scene?"
            )
        for body, (position, quaternion) in (fixtures or {}).items():
            if body not in domain.sim.model.body_names:
                raise ValueError(f"{self.task.name} has no fixture {body!r}; it has {sorted(domain.fixtures_dict)}.")
            index = domain.sim.model.body_name2id(body)
            domain.sim.model.body_pos[index], domain.sim.model.body_quat[index] = position, quaternion
        domain.sim.set_state_from_flattened(np.asarray(state, dtype=np.float64))
        domain.sim.forward()
        domain._post_process()
        self._success = bool(domain._check_success())

    def simulator_state(self) -> np.ndarray:
        """The state that `restore` takes, float64 `[time + qpos + qvel]`."""
        return np.array(self.simulator.sim.get_state().flatten())

    def step(self, action: np.ndarray) -> np.ndarray:
        """Executes one action `[7]` (see `robots.libero`) for 1/20 s and returns it as sent, clipped to the limits.

        Raises:
            ValueError: wrong shape, NaN or infinity.
            RuntimeError: before the first reset, or after `close`.
        """
        if np.shape(action) != (LIBERO.action_dim,):
            raise ValueError(
                f"An action has shape ({LIBERO.action_dim},) = {LIBERO.action_names}; got {np.shape(action)}."
            )
        sent = LIBERO.native_actions(np.asarray(action)[None])[0]
        domain = self.simulator
        if not self._ready:
            raise RuntimeError("Call reset(episode) before the first step.")
        _, _, done, _ = domain.step(sent)
        self._success = bool(done)  # LIBERO's `done` means that the goal holds
        return sent

    def state(self) -> np.ndarray:
        """Proprioception, float32 `[8]`, named by `robots.libero`. Renders nothing."""
        return self.measured().astype(np.float32)

    def measured(self) -> np.ndarray:
        """Proprioception in the simulator's float64, as openpi's client sends it."""
        domain = self.simulator
        robot, data = domain.robots[0], self.seen()
        hand = domain.sim.model.body_name2id(robot.robot_model.eef_name)
        quaternion = np.roll(data.xquat[hand], -1)  # w x y z -> x y z w
        fingers = data.qpos[robot._ref_gripper_joint_pos_indexes]
        return np.concatenate([data.site_xpos[robot.eef_site_id], axis_angle(quaternion), fingers])

    def observe(self, *, drawn: Any = None) -> Mapping[str, Any]:
        """Observation with openpi's LIBERO keys: two images uint8 `[h, w, 3]` turned by 180 degrees, state, prompt.

        Args:
            drawn: mujoco.MjData of another instant to draw; default: `seen()`.
        """
        cameras, data = self.cameras(), drawn or self.seen()
        images = {key: cameras.render(data, camera) for key, camera in VIEWS.items()}
        return {**images, "observation/state": self.state(), "prompt": self.prompt}

    def seen(self) -> Any:
        """mujoco.MjData of the instant of an observation (see `LiberoSettings.sampling`)."""
        return self.simulator.sim.data._data if self._sampled is None else self._sampled.data

    def cameras(self) -> Cameras:
        """The renderer, created by the first call."""
        if self._cameras is None:
            self._cameras = Cameras(
                self.simulator.sim.model._model, self._settings.camera_hw, self._settings.render_quality
            )
        return self._cameras

    def refresh(self) -> None:
        """Updates everything computed after the simulator's model or state was changed from outside."""
        domain = self.simulator
        domain.sim.forward()
        domain._post_process()
        if self._sampled is not None:
            self._sampled.begin()
        self._success = bool(domain._check_success())

    def facts(self, *, boxes: bool = False) -> SceneFacts | None:
        """Truth about the instruction's targets, or None if they are not known (see `unlabelled`).

        Args:
            boxes: also segment the front camera's picture: boxes of what is visible, and points on it (see
                `segmentation`). It renders once.
        """
        if self.unlabelled:
            return None
        domain = self.simulator
        pairs = [(target, self.holds(target.owner)) for target in self.targets]
        facts = scene_facts(domain.sim, pairs, domain.robots[0].eef_site_id, self._settings.camera_hw)
        return with_boxes(facts, self.targets, domain.sim.model._model, self.segmented()) if boxes else facts

    def segmented(self) -> np.ndarray:
        """Number of the visible shape at each pixel of the front camera's present picture; see `Cameras.segment`."""
        return self.cameras().segment(self.simulator.sim.data._data, VIEWS["observation/image"])

    def gripper_m(self) -> np.ndarray:
        """The point between the finger tips, world frame, metres `[3]`."""
        domain = self.simulator
        return np.array(domain.sim.data.site_xpos[domain.robots[0].eef_site_id])

    def position_m(self, name: str) -> np.ndarray:
        """World position `[3]` of an object's or fixture's origin, or of a region's centre."""
        domain = self.simulator
        if name in domain.obj_body_id:
            return np.array(domain.sim.data.body_xpos[domain.obj_body_id[name]])
        return np.array(domain.sim.data.get_site_xpos(name))

    def target_m(self, target: Target) -> np.ndarray:
        """World position `[3]` of a target's point."""
        return point_m(self.simulator.sim, target)

    def bounds_m(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest corner `[3]` of an object's collision shapes, world axes."""
        return box_m(self.simulator.sim, self.simulator.get_object(name).contact_geoms)

    def touches(self, name: str) -> bool:
        """Whether any part of the gripper touches the object or fixture."""
        domain = self.simulator
        return bool(domain.check_contact(domain.robots[0].gripper, domain.get_object(name)))

    def holds(self, name: str) -> bool:
        """Whether both finger pads touch the object: the simulator's own grasp check."""
        domain = self.simulator
        return bool(domain._check_grasp(gripper=domain.robots[0].gripper, object_geoms=self.simulator.get_object(name)))

    def close(self) -> None:
        """Frees the simulator and its OpenGL context. Calling it twice is harmless."""
        if self._cameras is not None:
            self._cameras.close()
            self._cameras = None
        if self._domain is not None:
            self._domain.close()
            self._domain = None

    def _place(self, episode: int, attempt: int) -> None:
        """Draws fixtures and objects, then applies a fixed initial state."""
        domain = self.simulator
        self._placements.place(episode, attempt)
        if self._states is not None:
            # Only after the reset itself: before it, markers at the gripper would show in the images.
            domain.sim.set_state_from_flattened(self._states[episode])
            domain.sim.forward()
            domain._post_process()
        if self._sampled is not None:
            self._sampled.begin()
        self._success, self._ready = bool(domain._check_success()), True

    def _at_rest(self) -> bool:
        """Waits for objects that were drawn in mid-air (onto another object), and says if they came to rest."""
        for _ in range(_REST_STEPS):
            before = self._movable_m()
            self.step(SETTLE_ACTION)
            if np.abs(self._movable_m() - before).max(initial=0.0) < _REST_M:
                return True
        return False

    def _movable_m(self) -> np.ndarray:
        """Positions of all movable objects, metres `[n, 3]`."""
        return np.array([self.position_m(name) for name in self.movable]).reshape(-1, 3)
