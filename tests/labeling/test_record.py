import dataclasses
import os
from pathlib import Path
import signal
from types import SimpleNamespace

import numpy as np
import pytest

from inspire_fast.envs.libero.camera import VIEWS
from inspire_fast.envs.libero.experts.controller import InfeasibleSceneError
from inspire_fast.labeling.demonstrations import record as record_module
from inspire_fast.labeling.demonstrations.episode import RecordedEpisode, load_episode, save_episode
from inspire_fast.labeling.demonstrations.record import RecordSpec, record

SPEC = RecordSpec(
    tasks=(("libero_spatial", 0),),
    episodes=1,
    chunk=20,
    camera_hw=(64, 64),
    render_quality="reduced",
    boxes=True,
)


def tiny_episode() -> RecordedEpisode:
    rng = np.random.default_rng(0)
    return RecordedEpisode(
        state=rng.normal(size=(5, 8)).astype(np.float32),
        actions=rng.normal(size=(5, 7)).astype(np.float32),
        phrases=("the alphabet soup", "the basket"),
        offset_m=rng.normal(size=(5, 2, 3)).astype(np.float32),
        grasped=rng.random((5, 2)) > 0.5,
        point_px=np.array([[[0.5, 0.25], [np.nan, np.nan]]] * 5, dtype=np.float32),
        images={"observation/image": rng.integers(0, 255, (3, 4, 4, 3), dtype=np.uint8)},
        chunk=2,
        prompt="pick up the alphabet soup and place it in the basket",
        success=True,
        suite="libero_object",
        task=0,
        episode=3,
        seed=1,
    )


def test_an_episode_comes_back_as_it_was_saved(tmp_path: Path):
    episode = tiny_episode()
    save_episode(episode, tmp_path / "a.npz")
    loaded = load_episode(tmp_path / "a.npz")
    for field in dataclasses.fields(RecordedEpisode):
        np.testing.assert_equal(getattr(loaded, field.name), getattr(episode, field.name))
    assert loaded.facts(0).trace_px is None  # a recording of an earlier version
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    np.testing.assert_array_equal(loaded.image_index, [0, 0, 1, 1, 2])
    np.testing.assert_array_equal(loaded.image_age, [0, 1, 0, 1, 0])
    first, second = loaded.facts(0).targets
    assert first.point_px == (0.5, 0.25)
    assert second.point_px is None
    np.testing.assert_array_equal(second.offset_m, episode.offset_m[0, 1])


def test_places_in_pictures_come_back(tmp_path: Path):
    places = {
        "gripper_px": np.full((5, 2), 0.25, np.float32),
        "trace_px": np.full((5, 3, 2), 0.5, np.float32),
        "box_px": np.full((5, 2, 4), np.nan, np.float32),
    }
    places["trace_px"][4] = np.nan
    places["box_px"][0, 1] = (0.25, 0.125, 0.5, 0.75)
    save_episode(dataclasses.replace(tiny_episode(), **places), tmp_path / "a.npz")
    loaded = load_episode(tmp_path / "a.npz")
    first = loaded.facts(0)
    assert [target.box_px for target in first.targets] == [None, (0.25, 0.125, 0.5, 0.75)]
    assert (first.gripper_px, first.camera, loaded.facts(4).trace_px) == ((0.25, 0.25), "base_0_rgb", None)
    np.testing.assert_array_equal(first.trace_px, places["trace_px"][0])
    with pytest.raises(ValueError, match="needs shapes"):
        dataclasses.replace(loaded, trace_px=loaded.trace_px[:3])


def test_arrays_that_do_not_fit_together_are_refused():
    episode = tiny_episode()
    with pytest.raises(ValueError, match="needs shapes"):
        dataclasses.replace(episode, state=episode.state[:4])
    with pytest.raises(ValueError, match="need 2 images"):
        dataclasses.replace(episode, chunk=3)


def test_a_foreign_file_is_refused(tmp_path: Path):
    np.savez(tmp_path / "a.npz", state=np.zeros(3))
    with pytest.raises(ValueError, match="no recorded episode"):
        load_episode(tmp_path / "a.npz")


@pytest.mark.sim
def test_recording_resumes_and_repeats_nothing(tmp_path: Path):
    summary = record(SPEC, tmp_path, workers=1, progress=False)
    assert (summary.episodes, summary.recorded) == (1, 1)
    episode = load_episode(summary.paths[0])
    assert episode.success
    assert summary.steps == len(episode) == len(episode.state)
    assert episode.phrases == ("the black bowl between the plate and the ramekin", "the plate")
    assert episode.images["observation/wrist_image"].shape == (-(-len(episode) // 20), 64, 64, 3)
    assert np.isfinite(episode.point_px).all()
    assert episode.grasped[:, 0].any()
    # The hand moves by what the offset to the (still) plate shrinks by.
    np.testing.assert_allclose(
        np.diff(episode.offset_m[:20, 1], axis=0), -np.diff(episode.state[:20, :3], axis=0), atol=1e-4
    )
    has_box = ~np.isnan(episode.box_px[..., 0])
    assert has_box[::20].any(axis=1).all()  # of every kept image,
    assert not has_box[np.arange(len(episode)) % 20 != 0].any()  # and of no other
    grasp = int(np.argmax(episode.grasped[:, 0]))
    ends = episode.trace_px[: grasp - 5, -1]  # before the grasp, every path ends where the hand then is
    np.testing.assert_allclose(ends, np.tile(ends[0], (len(ends), 1)), atol=1e-6)
    at = np.abs(episode.gripper_px - ends[0]).max(axis=1).argmin()
    assert abs(at - grasp) < 12
    written = summary.paths[0].stat().st_mtime_ns
    again = record(SPEC, tmp_path, workers=1, progress=False)
    assert (again.episodes, again.recorded) == (1, 0)
    assert again.paths[0].stat().st_mtime_ns == written
    with pytest.raises(ValueError, match="another spec"):
        record(dataclasses.replace(SPEC, chunk=10), tmp_path, workers=1, progress=False)


def executed_and_recorded(
    monkeypatch: pytest.MonkeyPatch, actions: list[np.ndarray], seed: int = 0, **disturbances: float
) -> tuple[np.ndarray, np.ndarray]:
    """Actions `[t, 7]` that an environment executes, and those recorded, when the expert wants `actions`."""
    executed: list[np.ndarray] = []
    environment = SimpleNamespace(
        unlabelled="",
        reset=lambda _episode: None,
        observe=lambda: {key: np.zeros((4, 4, 3), np.uint8) for key in VIEWS},
        facts=lambda **_: tiny_episode().facts(0),
        state=lambda: np.array([0, 0, 0, 0, 0, 0, 0.04, -0.04], np.float32),
        step=executed.append,
        success=False,
        prompt="pick up the alphabet soup",
        task=SimpleNamespace(suite="libero_object", index=0),
    )
    monkeypatch.setattr(record_module, "EXPERTS", {"carry_out": lambda *_: iter(actions)})
    spec = dataclasses.replace(SPEC, max_steps=2000, **disturbances)
    episode = record_module.record_episode(environment, spec, episode=0, seed=seed)  # pyright: ignore[reportArgumentType]
    return np.array(executed), episode.actions


APPROACH, GRASP = (np.array([0.2, 0, 0, 0, 0, 0.1, gripper], np.float32) for gripper in (-1, 1))


def test_execution_noise_displaces_the_hand_and_stays_out_of_the_recorded_actions(monkeypatch: pytest.MonkeyPatch):
    executed, recorded = executed_and_recorded(monkeypatch, [APPROACH] * 2000, execution_noise=0.3)
    np.testing.assert_array_equal(recorded, np.tile(APPROACH, (2000, 1)))
    noise = executed - APPROACH
    np.testing.assert_allclose(noise[:, :3].std(axis=0), 0.3, rtol=0.15)
    assert np.corrcoef(noise[:-1, 0], noise[1:, 0])[0, 1] == pytest.approx(0.8, abs=0.05)
    np.testing.assert_array_equal(noise[:, 3:], 0)


def test_fingers_close_once_too_early_and_the_recorded_actions_open_them(monkeypatch: pytest.MonkeyPatch):
    shut = []
    for seed in range(20):
        executed, recorded = executed_and_recorded(monkeypatch, [APPROACH] * 60, seed, early_closing=0.5)
        np.testing.assert_array_equal(recorded, np.tile(APPROACH, (60, 1)))
        closed = np.flatnonzero(executed[:, -1] == 1)
        if len(closed):
            assert 6 <= closed[0] < 30
            np.testing.assert_array_equal(np.diff(closed), 1)
            assert (executed[closed, 2] >= 0).all()  # the closed hand drifts aside or up, never down
            np.testing.assert_array_equal(executed[closed[-1] + 1 :], np.tile(APPROACH, (59 - closed[-1], 1)))
        shut.append(len(closed))
    assert 5 <= np.count_nonzero(shut) <= 15
    assert 6 <= min(filter(None, shut)) <= max(shut) < 16


def test_fingers_that_the_expert_closes_are_not_disturbed(monkeypatch: pytest.MonkeyPatch):
    executed, _ = executed_and_recorded(monkeypatch, [APPROACH] * 6 + [GRASP] * 60, early_closing=1.0)
    np.testing.assert_array_equal(executed, [APPROACH] * 6 + [GRASP] * 60)


def attempts(monkeypatch: pytest.MonkeyPatch, *outcomes: bool | Exception) -> list[tuple[int, int]]:
    """Lets the worker's job run on recordings with these outcomes (the last one repeats); returns the requests."""
    asked: list[tuple[int, int]] = []

    def fake(*_: object, episode: int, seed: int) -> RecordedEpisode:
        asked.append((episode, seed))
        outcome = outcomes[min(len(asked), len(outcomes)) - 1]
        if isinstance(outcome, Exception):
            raise outcome
        return dataclasses.replace(tiny_episode(), success=outcome)

    monkeypatch.setattr(record_module, "record_episode", fake)
    monkeypatch.setattr(record_module, "_scenes", lambda _spec: SimpleNamespace(get=lambda *_: None))
    return asked


@pytest.mark.parametrize("outcome", [False, InfeasibleSceneError("no grasp")])
def test_a_failed_attempt_is_tried_again_from_another_state_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: bool | Exception
):
    asked = attempts(monkeypatch, outcome, outcome, True)
    job = record_module._Job(suite="libero_object", task=0, number=4, path=tmp_path / "a.npz")
    assert record_module._run(SPEC, job) == ()
    assert len(set(asked)) == 3
    assert asked[0] == (4, 0)
    assert load_episode(tmp_path / "a.npz").failures == 2


def test_an_expert_that_never_succeeds_gives_its_reasons_and_leaves_no_demonstration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    attempts(monkeypatch, InfeasibleSceneError("no grasp"), False)
    job = record_module._Job(suite="libero_object", task=0, number=4, path=tmp_path / "a.npz")
    assert record_module._run(SPEC, job) == ["no grasp", *["no success after 5 steps"] * 4]
    assert list(tmp_path.iterdir()) == []
    attempts(monkeypatch, ValueError("carry_out solves other goals"))
    with pytest.raises(ValueError, match="other goals"):  # no initial state would help
        record_module._run(SPEC, job)


# What a worker runs is pickled by name, hence at module level.
def second_is_infeasible(_spec: RecordSpec, job: record_module._Job) -> list[str]:
    if job.number == 1:
        return ["no grasp"] * 5
    save_episode(tiny_episode(), job.path)
    return []


def all_infeasible(*_: object) -> list[str]:
    return ["no grasp"] * 5


def test_an_infeasible_scene_is_skipped_and_the_others_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spec = dataclasses.replace(SPEC, episodes=3)
    monkeypatch.setattr(record_module, "_run", second_is_infeasible)
    summary = record(spec, tmp_path, workers=1, progress=False)
    assert [path.name for path in summary.paths] == ["libero_spatial-00-00000.npz", "libero_spatial-00-00002.npz"]
    assert summary.skipped == {"libero_spatial-00-00001.npz": ["no grasp"] * 5}
    assert (summary.episodes, summary.recorded) == (2, 2)
    again = record(spec, tmp_path, workers=1, progress=False)
    assert (again.episodes, again.recorded, list(again.skipped)) == (2, 0, ["libero_spatial-00-00001.npz"])
    monkeypatch.setattr(record_module, "_run", all_infeasible)
    with pytest.raises(RuntimeError, match=r"None of 1 demonstrations succeeded.*no grasp"):
        record(SPEC, tmp_path / "other", workers=1, progress=False)


def killed(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)  # what the kernel does when memory runs out: no exception, no answer


def broken(*_: object) -> None:
    raise OSError("disk full")


@pytest.mark.parametrize(("work", "message"), [(killed, "died.*fewer workers"), (broken, "number 0 failed: disk full")])
def test_a_dead_or_failing_worker_is_reported_and_does_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: object, message: str
):
    monkeypatch.setattr(record_module, "_run", work)
    with pytest.raises(RuntimeError, match=message):
        record(dataclasses.replace(SPEC, episodes=3), tmp_path, workers=1, progress=False)
