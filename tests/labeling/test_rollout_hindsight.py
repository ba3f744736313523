"""From a robot's rollout to labels: a policy that acts is recorded as on a robot, and labelled by the same commands."""

from collections import Counter

import pytest

import inspire_fast as ifa
from inspire_fast.commands.convert_dataset import rollouts
from inspire_fast.commands.label_dataset import label
from inspire_fast.data.converters.base import Storage
from inspire_fast.data.facts import FactsTable
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.dialogue.questions.direction import Direction
from inspire_fast.envs.libero.domain import LiberoSettings
from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.labeling.hindsight.producer import Hindsight
from inspire_fast.robots import LoopConfig, SafetyFilter, run_episode
from inspire_fast.robots.control.rollout import RolloutRecorder
from inspire_fast.robots.libero import LIBERO

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Seen:
    """A simulator whose observation before each step is kept: its step takes a period, a robot's returns at once."""

    def __init__(self, environment):
        self._environment, self.seen, self.truths = environment, {}, []

    def __getattr__(self, name):
        return getattr(self._environment, name)

    def step(self, action):
        self.seen = self._environment.observe()
        self.truths.append(self._environment.facts().targets)
        return self._environment.step(action)


def test_rollouts_of_the_shipped_policy_are_labelled_by_hindsight(tmp_path):
    policy = ifa.load_policy("inspire_acting")
    truths, solved = [], 0
    for task, episode in ((4, 0), (4, 1), (6, 0), (6, 1)):
        settings = LiberoSettings(camera_hw=(112, 112), render_quality="reduced")
        environment = Seen(LiberoEnvironment("libero_object", task, settings))
        recorder = RolloutRecorder(tmp_path / "rollouts", LIBERO, observe=lambda e=environment: e.seen, control_hz=20)
        recorder.begin(environment.prompt)
        result = run_episode(
            environment,
            policy.infer,
            LoopConfig(execute=5, max_steps=280, simulated=True),
            safety=SafetyFilter(robot=LIBERO),
            metadata=policy.metadata,
            episode=episode,
            on_step=recorder.add,
        )
        recorder.end(result)
        recorder.close()
        environment.close()
        if result.success:
            truths, solved = [*truths, *environment.truths[-result.steps :]], solved + 1
    assert solved >= 2  # of four at which it succeeds mostly; hindsight is about episodes that end well
    root = tmp_path / "dataset"
    rollouts(source=tmp_path / "rollouts", root=root, storage=Storage(), only_success=True)
    assert label(Hindsight(end_is_release=True), root=root, skip_bad_episodes=True) == 0
    dataset, direction = LeRobotDataset(root), Direction(axes=LIBERO.axes)
    table = FactsTable.load(root)
    frames = [(e, f) for e, episode in enumerate(dataset.episodes) for f in range(episode.length)]
    assert len(frames) == len(truths)
    known, right = Counter(), Counter()
    for (episode, frame), truth in zip(frames, truths, strict=True):
        facts = table.facts(episode, frame)
        for target in () if facts is None else facts.targets:
            (true,) = (one for one in truth if one.phrase == target.phrase)
            known[target.phrase] += 1
            right[target.phrase] += direction.truth(target) == direction.truth(true)
    print({phrase: (right[phrase], known[phrase]) for phrase in known}, len(frames))  # noqa: T201  (for the log)
    assert known.total() > 0.8 * 2 * len(frames)
    assert right.total() / known.total() > 0.75
