"""Distance of visited states to the nearest state of the demonstrations of the same instruction.

A state is where the targets are, seen from the gripper, and how far the fingers are open; absolute positions would only
tell that another initial state is another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import KDTree

from inspire_fast.data.facts import FactsTable
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.evaluation.diagnosis.course import Course
from inspire_fast.robots import ROBOTS

_QUANTILE = 0.99
_PERSISTENCE = 5  # control steps; a single odd state is no divergence


@dataclass(frozen=True, kw_only=True)
class Demonstrations:
    """States of the demonstrations of one instruction.

    Attributes:
        phrases: the targets that the columns of a state belong to.
        tree: of the states `[rows, 3 p + 1]`, metres.
        usual_m: the distance from a demonstration's state to the nearest state of *another* demonstration that 99 % of
            them do not exceed.
    """

    phrases: tuple[str, ...]
    tree: KDTree
    usual_m: float

    @classmethod
    def of(cls, phrases: tuple[str, ...], episodes: list[np.ndarray]) -> Demonstrations:
        """Builds the index; without a second demonstration there is no usual distance (infinite)."""
        apart = []
        for i, states in enumerate(episodes):
            others = [other for j, other in enumerate(episodes) if j != i]
            if others:
                apart.append(KDTree(np.concatenate(others)).query(states)[0])
        usual = float(np.quantile(np.concatenate(apart), _QUANTILE)) if apart else float("inf")
        return cls(phrases=phrases, tree=KDTree(np.concatenate(episodes)), usual_m=usual)

    def distances_m(self, course: Course) -> np.ndarray:
        """`[n + 1]`: distance of each state of an episode to the nearest state of the demonstrations."""
        order = [course.phrases.index(phrase) for phrase in self.phrases]
        return self.tree.query(_states(course.offset_m[:, order], course.opening_m))[0]


def read_demonstrations(root: Path) -> Mapping[str, Demonstrations]:
    """The demonstrations of a labelled LIBERO dataset, by instruction.

    Raises:
        DatasetError: no dataset there, or one without labels.
    """
    dataset, facts, robot = LeRobotDataset(root), FactsTable.load(root), ROBOTS["libero"]
    column = next(name for name, key in robot.columns.items() if key == robot.state_key)
    opening_m = np.ptp(dataset.columns([column])[column][:, -2:], axis=1)
    found: dict[str, tuple[tuple[str, ...], list[np.ndarray]]] = {}
    for episode in dataset.episodes:
        scenes = {i: facts.facts(episode.index, i) for i in range(episode.length)}
        known = {i: scene.targets for i, scene in scenes.items() if scene is not None and scene.targets}
        if not known:
            continue
        offset_m = np.array([[target.offset_in("base") for target in targets] for targets in known.values()])
        phrases = tuple(target.phrase for target in next(iter(known.values())))
        states = _states(offset_m, opening_m[[episode.start + i for i in known]])
        found.setdefault(dataset.task(episode.start), (phrases, []))[1].append(states)
    return {text: Demonstrations.of(phrases, episodes) for text, (phrases, episodes) in found.items()}


def _states(offset_m: np.ndarray, opening_m: np.ndarray) -> np.ndarray:
    return np.concatenate([offset_m.reshape(len(offset_m), -1), opening_m[:, None]], axis=1)


def first_divergence(distances_m: np.ndarray, usual_m: float) -> int | None:
    """First step from which five states in a row are further away than demonstrations are from each other."""
    far = distances_m > usual_m
    runs = np.convolve(far, np.ones(_PERSISTENCE), mode="valid") == _PERSISTENCE
    return int(np.argmax(runs)) if runs.any() else None
