"""All 130 tasks in the real simulator. Half an hour on one core."""

from collections.abc import Iterator
import contextlib

import numpy as np
import pytest

from inspire_fast.envs import LiberoEnvironment, LiberoSettings
from inspire_fast.envs.libero.environment import SETTLE_ACTION
from inspire_fast.envs.libero.suites import SUITES, tasks

pytestmark = [pytest.mark.sim, pytest.mark.slow, pytest.mark.timeout(900)]
TASKS = [(suite, number) for suite in SUITES for number in range(90 if suite == "libero_90" else 10)]


@contextlib.contextmanager
def opened(suite: str, number: int) -> Iterator[LiberoEnvironment]:
    environment = LiberoEnvironment(
        suite,
        number,
        LiberoSettings(camera_hw=(64, 64), settle_steps=0, fixture_seeding="constant", render_quality="reduced"),
    )
    try:
        yield environment
    finally:
        environment.close()


def test_these_are_all_tasks():
    assert len(TASKS) == 130
    assert [(suite, task.index) for suite in SUITES for task in tasks(suite)] == TASKS


@pytest.mark.parametrize(("suite", "number"), TASKS)
def test_it_resets_to_its_initial_states_steps_and_is_seen(suite: str, number: int):
    with opened(suite, number) as environment:
        states = environment.task.initial_states()
        assert len(states) == 50
        environment.reset(49)
        np.testing.assert_array_equal(environment.simulator_state(), states[49])
        environment.reset(0)
        np.testing.assert_array_equal(environment.simulator_state(), states[0])
        assert not environment.success
        for _ in range(3):
            environment.step(SETTLE_ACTION)
        assert environment.simulator_state()[0] == pytest.approx(states[0][0] + 3 / 20)
        assert np.isfinite(environment.simulator_state()).all()
        facts = environment.facts()
        assert facts is not None, environment.unlabelled
        assert all(np.linalg.norm(target.offset_m) < 2 for target in facts.targets)
        observation = environment.observe()
        assert all(observation[key].std() > 5 for key in ("observation/image", "observation/wrist_image"))
