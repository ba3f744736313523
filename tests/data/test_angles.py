"""Angles in statistics, normalisation and noise: a recording and the same recording turns away are one."""

from types import SimpleNamespace

import numpy as np
import pytest

from inspire_fast.data.normalization.compute import source_stats
from inspire_fast.data.normalization.normalizer import Normalizer
from inspire_fast.data.normalization.report import inspect_stats
from inspire_fast.robots import ROBOTS
from tests.robots.carousel import CAROUSEL

HORIZON, ROWS = 5, 400


class Rows:
    """The numbers of a recording: native states, and the next state as the action."""

    def __init__(self, robot, path, *, turned):
        rng = np.random.default_rng(1)
        states, actions = (
            part + turned * rng.integers(-2, 3, part.shape) * robot.state_periods for part in (path[:-1], path[1:])
        )
        self.robot, self.horizon, self.dataset = robot, HORIZON, SimpleNamespace(fps=robot.control_hz)
        self._states = robot.state_map.to_canonical(states).astype(np.float32)
        self._actions = robot.canonical_actions(actions)

    def __len__(self):
        return len(self._states)

    def states(self, part=slice(None)):
        return self._states[part]

    def chunks(self, part=slice(None), dims=slice(None)):
        rows = np.minimum(np.arange(len(self))[part, None] + np.arange(HORIZON), len(self) - 1)
        return self._actions[:, dims][rows]

    def actions(self):
        return self._actions


def recording(robot, *, turned):
    """A path about the place where the circle is cut, that goes over it all the time."""
    low, high = np.array(robot.state_low), np.array(robot.state_high)
    phases = np.arange(ROWS + 1)[:, None] / 17 + np.arange(len(low))
    around = np.where(robot.state_periods > 0, high, (low + high) / 2)
    return Rows(robot, around + 0.2 * (high - low) * np.sin(phases), turned=turned)


def normalizer_of(rows):
    delta, periods = rows.robot.delta, rows.robot.canonical_periods
    return Normalizer(stats=source_stats(rows, delta=delta), delta=delta, periods=periods)


@pytest.fixture(params=["inspire_arm", "carousel"])
def robot(request):
    return CAROUSEL if request.param == "carousel" else ROBOTS[request.param]


@pytest.mark.parametrize("delta", ["the robot's", "none"])
@pytest.mark.parametrize("streaming", [False, True])
def test_whole_turns_change_neither_statistics_nor_numbers_nor_the_report(robot, streaming, delta):
    delta = robot.delta if delta == "the robot's" else ()
    true, turned = (recording(robot, turned=by) for by in (0, 1))
    periods = robot.canonical_periods
    normalizers = [
        Normalizer(stats=source_stats(rows, delta=delta, streaming=streaming), delta=delta, periods=periods)
        for rows in (true, turned)
    ]
    for name, span in (("state", robot.state_dim), ("actions", robot.action_dim)):
        ours, theirs = (normalizer.stats[name] for normalizer in normalizers)
        assert ours.q01 is not None
        assert ours.q99 is not None
        assert theirs.q01 is not None
        assert theirs.q99 is not None
        widths = theirs.q99 - theirs.q01
        np.testing.assert_allclose(ours.std, theirs.std, rtol=1e-3)
        np.testing.assert_allclose(ours.q99 - ours.q01, widths, rtol=2e-3)
        assert (
            np.abs(widths[np.array(periods[name]) > 0]) < np.array(periods[name])[np.array(periods[name]) > 0] / 2
        ).all()
        assert len(theirs) == span
    states, chunks = turned.states(), turned.chunks()
    normalizer = normalizers[1]
    assert np.abs(normalizer.state(states)).max() < 1.1
    assert np.abs(normalizer.actions(chunks, states)).max() < 2.5
    np.testing.assert_allclose(normalizer.state(states), normalizer.state(true.states()), atol=1e-3)
    np.testing.assert_allclose(
        normalizer.actions(chunks, states), normalizer.actions(true.chunks(), true.states()), atol=1e-2
    )
    kinds = [[finding.kind for finding in inspect_stats(rows, normalizer)] for rows in (true, turned)]
    assert kinds[0] == kinds[1] == ([] if delta else ["missing_delta"])


def test_what_is_sent_is_what_was_recorded(robot):
    rows = recording(robot, turned=1)
    normalizer = Normalizer(stats=source_stats(rows), delta=robot.delta, periods=robot.canonical_periods)
    for row in range(0, ROWS, 50):
        state, chunk = rows.states()[row], rows.chunks()[row]
        native = robot.native_actions(normalizer.canonical_actions(normalizer.actions(chunk, state), state))
        turn = robot.action_turn(robot.action_map.to_native(chunk), native)
        assert (np.abs(turn) < 1e-4 * np.subtract(robot.action_high, robot.action_low)).all()
        assert (native <= np.float32(robot.action_high)).all()


@pytest.mark.parametrize("kind", ["quantile", "zscore"])
def test_noise_moves_a_state_over_the_cut_to_the_other_end(kind):
    rows = recording(CAROUSEL, turned=1)
    normalizer = Normalizer(stats=source_stats(rows), kind=kind, periods=CAROUSEL.canonical_periods)
    opposite = np.float32(normalizer.stats["state"].mean + np.array([np.pi - 0.01, np.pi - 0.01, 0]))
    state, noise = normalizer.state(opposite), np.array([0.3, -0.3, 0.3])
    noisy = normalizer.noisy_state(state, noise)
    assert noisy[0] < 0 < state[0]  # over the cut
    np.testing.assert_allclose(noisy[1:], (state + noise)[1:])
    line = Normalizer(stats=normalizer.stats, kind=kind)
    np.testing.assert_array_equal(line.noisy_state(state, noise), state + noise)


def test_a_mask_of_an_earlier_contract_means_what_it_meant():
    """Old checkpoints were trained with angles on a line, and are read so."""
    robot = ROBOTS["inspire_arm"]
    unit = {key: source_stats(recording(robot, turned=0))[key] for key in ("state", "actions")}
    state, target = np.zeros(7), np.zeros((1, 7))
    state[5], target[0, 5] = 179_500.0, -179_500.0
    old, new = (Normalizer(stats=unit, kind="zscore", delta=mask) for mask in ((True,) * 6 + (False,), robot.delta))
    scale, mean = unit["actions"].std[5] + 1e-6, unit["actions"].mean[5]
    np.testing.assert_allclose(old.actions(target, state)[0, 5] * scale + mean, -359_000)
    np.testing.assert_allclose(new.actions(target, state)[0, 5] * scale + mean, 1_000)
    np.testing.assert_allclose(old.canonical_actions(old.actions(target, state), state), target, atol=1e-6)


def test_periods_of_other_dimensions_are_refused():
    stats = source_stats(recording(CAROUSEL, turned=0))
    with pytest.raises(ValueError, match="Periods of 'state' are one per dimension"):
        Normalizer(stats=stats, periods={"state": (360.0,)})


def test_deltas_that_were_recorded_as_such_are_found_behind_whole_turns(robot):
    rows, other = recording(robot, turned=1), np.random.default_rng(3)
    rows._actions = other.normal(0, 1e-3, rows._actions.shape).astype(np.float32)
    normalizer = normalizer_of(rows)
    found = [finding for finding in inspect_stats(rows, normalizer) if finding.kind == "double_delta"]
    assert [finding.dims for finding in found] == [tuple(np.flatnonzero(robot.delta).tolist())]


def test_a_rate_that_is_not_the_robots_is_reported(robot):
    rows = recording(robot, turned=0)
    rows.dataset.fps = robot.control_hz / 2
    normalizer = normalizer_of(rows)
    (finding,) = inspect_stats(rows, normalizer)
    assert finding.kind == "control_rate"
    assert f"recorded at {robot.control_hz / 2:g} frames per second" in finding.message


def test_a_direction_is_read_from_evenly_spread_samples(monkeypatch):
    monkeypatch.setattr("inspire_fast.data.normalization.compute._DIRECTIONS", 150)
    source, steps = recording(CAROUSEL, turned=0), []
    states = source.states
    source.states = lambda part=slice(None): steps.append(part.step) or states(part)
    source_stats(source)
    assert steps == [3, None]  # of 400 rows, 134; then all of them
