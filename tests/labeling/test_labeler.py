import functools
import json
from pathlib import Path
import tracemalloc
from typing import Any

import numpy as np
import pytest

from inspire_fast.commands.label_dataset import main
from inspire_fast.core.types import SceneFacts
from inspire_fast.data import facts
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.facts import FACTS_PATH, FactsTable, stored_producer, write_facts
from inspire_fast.labeling import episode_cache
from inspire_fast.labeling.hindsight import producer as hindsight_producer
from inspire_fast.labeling.hindsight.producer import Hindsight
from inspire_fast.labeling.labeler import REPORT_FILE, label_dataset
from inspire_fast.robots import ROBOTS
from tests.core.commands import ended
from tests.labeling.datasets import BIN, CAN, LENGTH, change, damage, libero_states, with_tasks, write

LIBERO = ROBOTS["libero"]
PUT = "put the can in the bin"


def test_a_dataset_is_labelled_from_its_states_alone(tmp_path: Path):
    dataset = write(
        tmp_path / "d", [(libero_states(), PUT), (libero_states(shift=0.05), "pick up the can and put it in the bin")]
    )
    report = label_dataset(dataset, Hindsight(), robot=LIBERO, progress=False)
    table = FactsTable.load(dataset.root)
    assert (table.robot, table.frame_description) == (
        "libero",
        "world axes: +x front, -x back, +y right, -y left, +z up, -z down",
    )
    first = table.facts(0, 0)
    assert first is not None
    assert [target.phrase for target in first.targets] == ["the can", "the bin"]
    np.testing.assert_allclose(first.targets[0].offset_m, CAN - [0, 0, 0.4], atol=1e-5)
    np.testing.assert_allclose(first.targets[1].offset_m, BIN - [0, 0, 0.4], atol=1e-5)
    carried = table.facts(1, 30)
    assert carried is not None
    assert [target.grasped for target in carried.targets] == [True, False]
    np.testing.assert_allclose(table.facts(1, 0).targets[0].offset_m, CAN + 0.05 - [0, 0, 0.4], atol=1e-5)
    assert (report.episodes, report.frames) == (2, 2 * LENGTH)
    assert report.frames_labelled == len(table)
    assert not list(dataset.root.glob("labels/.partial/*"))


def test_each_frame_is_labelled_by_its_own_instruction(tmp_path: Path):
    """Two instructions in one episode: the button is pressed until frame 9, then the can is carried."""
    press = "press the red button"
    dataset = write(tmp_path / "d", [(libero_states(), press), (libero_states(), PUT)])
    numbers = np.repeat([0, 1], [10, 2 * LENGTH - 10])
    dataset = with_tasks(dataset, numbers)
    assert dataset.instructions(dataset.episodes[0]) == ((0, 10, press), (10, LENGTH, PUT))
    label_dataset(dataset, Hindsight(), robot=LIBERO, progress=False)
    table = FactsTable.load(dataset.root)
    assert [table.facts(0, frame) for frame in range(10)] == [None] * 10
    assert table.facts(0, 10) is not None
    for frame in range(10, LENGTH):
        ours, theirs = (scene.targets if scene else () for scene in (table.facts(0, frame), table.facts(1, frame)))
        for one, other in zip(ours, theirs, strict=True):
            assert (one.phrase, one.grasped) == (other.phrase, other.grasped)
            np.testing.assert_array_equal(one.offset_m, other.offset_m)
    entry = json.loads((dataset.root / REPORT_FILE).read_text(encoding="utf-8"))["by_episode"]["0"]
    assert list(entry["parts"]) == ["frames 0..9", f"frames 10..{LENGTH - 1}"]
    assert list(entry["refused"]) == ["the red button, frames 0..9"]
    assert dataset.instructions(dataset.episodes[1]) == ((0, LENGTH, PUT),)


def test_a_grip_goes_on_across_a_change_of_the_instruction(tmp_path: Path):
    dataset = write(tmp_path / "d", [(libero_states(), "pick up the can"), (libero_states(), PUT)])
    dataset = with_tasks(dataset, np.repeat([0, 1], [30, 2 * LENGTH - 30]))
    label_dataset(dataset, Hindsight(), robot=LIBERO, progress=False)
    table = FactsTable.load(dataset.root)
    held = [f for f in range(LENGTH) if (s := table.facts(0, f)) and any(t.grasped for t in s.targets)]
    assert held == list(range(20, 40))
    assert [t.phrase for t in table.facts(0, 25).targets] == ["the can"]
    assert [t.phrase for t in table.facts(0, 35).targets] == ["the can", "the bin"]


def test_the_same_run_writes_the_same_file_and_parts_leave_the_rest(tmp_path: Path):
    dataset = write(tmp_path / "d", [(libero_states(), PUT), (libero_states(), PUT), (libero_states(shift=0.05), PUT)])
    path = dataset.root / FACTS_PATH
    label_dataset(dataset, Hindsight(), robot=LIBERO, progress=False)
    whole = path.read_bytes()
    label_dataset(dataset, Hindsight(), robot=LIBERO, progress=False)
    assert path.read_bytes() == whole
    label_dataset(dataset, Hindsight(near_m=0.0), robot=LIBERO, episodes=[1], progress=False)
    changed, again = FactsTable.load(dataset.root), None
    assert changed.facts(0, 19) is not None
    assert [t.phrase for t in changed.facts(0, 19).targets] == ["the bin"]
    assert [t.phrase for t in changed.facts(1, 19).targets] == ["the can", "the bin"]
    label_dataset(dataset, Hindsight(), robot=LIBERO, episodes=[1], progress=False)
    again = FactsTable.load(dataset.root)
    assert [t.phrase for t in again.facts(1, 19).targets] == ["the bin"]
    assert path.read_bytes() == whole


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dataset = write(tmp_path / "d", [(libero_states(), PUT)] * 4)
    original, done = hindsight_producer.hindsight, []

    def dying(*args: object, **kwargs: object):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(1)
        return original(*args, **kwargs)

    monkeypatch.setattr(hindsight_producer, "hindsight", dying)
    with pytest.raises(KeyboardInterrupt):
        label_dataset(dataset, Hindsight(), robot=LIBERO, progress=False)
    assert not (dataset.root / FACTS_PATH).exists()  # all or nothing
    later: list[int] = []
    monkeypatch.setattr(hindsight_producer, "hindsight", lambda *a, **k: (later.append(1), original(*a, **k))[1])
    label_dataset(dataset, Hindsight(), robot=LIBERO, progress=False)
    assert len(later) == 2
    resumed = (dataset.root / FACTS_PATH).read_bytes()
    label_dataset(dataset, Hindsight(), robot=LIBERO, progress=False)
    assert (dataset.root / FACTS_PATH).read_bytes() == resumed


def test_a_dataset_of_which_nothing_can_be_labelled_is_told_so_once_per_reason(tmp_path: Path):
    dataset = write(tmp_path / "d", [(libero_states(), text) for text in ("task 0", "task 1", "task 0")])
    report = label_dataset(dataset, Hindsight(), robot=LIBERO, skip_bad_episodes=True, progress=False)
    first, second, third, last = str(report).splitlines()
    assert first.endswith("0 of 0 frames in 0 episodes are labelled.")
    assert second.startswith("left out: episode 0, 2: No target found in the instruction 'task 0'")
    assert third.startswith("left out: episode 1: No target found in the instruction 'task 1'")
    assert last.startswith("Nothing could be labelled")
    assert "`--dialogue.script pi0_fast`" in last


def test_bad_episodes_stop_or_are_listed(tmp_path: Path):
    instructions = [PUT, PUT, "do a dance", PUT]
    episodes = [(libero_states(grasp=number != 3), text) for number, text in enumerate(instructions)]
    dataset = damage(write(tmp_path / "d", episodes), row=LENGTH + 17, dim=2)
    with pytest.raises(DatasetError, match=r"d, episode 1: frame 17"):
        label_dataset(dataset, Hindsight(), robot=LIBERO, progress=False)
    report = label_dataset(dataset, Hindsight(), robot=LIBERO, skip_bad_episodes=True, progress=False)
    assert set(report.skipped) == {1, 2}
    assert "frame 17" in report.skipped[1]
    assert "Patterns tried" in report.skipped[2]
    assert "Nothing could be labelled" not in str(report)
    assert report.refused == {"never grasped": 2}
    stored = json.loads((dataset.root / REPORT_FILE).read_text(encoding="utf-8"))
    assert stored["by_episode"]["3"]["refused"] == {"the can": "never grasped", "the bin": "never grasped"}
    assert set(stored["skipped"]) == {"1", "2"}
    for line in ("left out: episode 1", "refused, 2 times: never grasped", "in 2 episodes"):
        assert line in str(report)
    table = FactsTable.load(dataset.root)
    assert table.facts(0, 0) is not None
    assert table.facts(1, 0) is None
    assert table.facts(3, 0) is None


def test_a_robot_whose_gripper_is_not_described_is_refused(tmp_path: Path):
    dataset = write(tmp_path / "d", [(libero_states(), PUT)])
    with pytest.raises(DatasetError, match=r"aloha.*--gripper FILE"):
        label_dataset(dataset, Hindsight(), robot=ROBOTS["aloha"], progress=False)
    with pytest.raises(DatasetError, match=r"no column 'cartesian_position'.*Convert the source again"):
        label_dataset(dataset, Hindsight(), robot=ROBOTS["droid"], progress=False)
    with pytest.raises(DatasetError, match="shape"):
        label_dataset(dataset, Hindsight(), robot=ROBOTS["inspire_arm"], progress=False)


def test_a_robot_whose_gripper_is_described_in_a_file(tmp_path: Path):
    dataset = write(tmp_path / "d", [(libero_states(), PUT)])
    path = tmp_path / "gripper.json"
    path.write_text(
        json.dumps({"position": [0, 1, 2], "opening": {"6": 2.0}, "closed_below": 0.9, "open_above": 0.93}),
        encoding="utf-8",
    )
    known = label_dataset(dataset, Hindsight(), robot=LIBERO, progress=False)
    given = label_dataset(dataset, Hindsight(gripper=path), robot=LIBERO, progress=False)
    assert given.frames_labelled == known.frames_labelled > 0
    path.write_text('{"position": [0, 1, 8], "opening": {"6": 1.0}}', encoding="utf-8")
    with pytest.raises(DatasetError, match=r"dimensions 0\.\.7"):
        label_dataset(dataset, Hindsight(gripper=path), robot=LIBERO, progress=False)


def test_a_limit_of_closing_moves_the_limit_of_opening(tmp_path: Path):
    """Fingers at 0.95 of the widest hold something only where closing is said to be below 0.97."""
    states = libero_states()
    wide = states[:, 6:8] / np.abs(states[:, 6:8]).max()
    states[:, 6:8] = np.where(np.abs(wide) < 0.9, 0.95 * np.sign(wide), wide) * np.abs(states[:, 6:8]).max()
    dataset = write(tmp_path / "d", [(states, PUT)])
    assert label_dataset(dataset, Hindsight(), robot=LIBERO, progress=False).frames_labelled == 0
    assert label_dataset(dataset, Hindsight(closed_below=0.97), robot=LIBERO, progress=False).frames_labelled > 0


def test_labels_of_another_producer_are_replaced_only_on_demand(tmp_path: Path):
    dataset = write(tmp_path / "d", [(libero_states(), PUT)] * 2)
    truth = {0: [SceneFacts(targets=())] * LENGTH}
    for producer, named in (("simulator", "simulator"), ("", "unnamed")):
        write_facts(dataset.root, truth, robot="libero", frame_description="world", producer=producer)
        for episodes in (None, [1]):
            with pytest.raises(DatasetError, match=f"{named}.*overwrite"):
                label_dataset(dataset, Hindsight(), robot=LIBERO, episodes=episodes, progress=False)
    write_facts(dataset.root, truth, robot="libero", frame_description="world", producer="simulator")
    label_dataset(dataset, Hindsight(), robot=LIBERO, episodes=[1], overwrite=True, progress=False)
    assert stored_producer(dataset.root) == "hindsight, simulator"
    label_dataset(dataset, Hindsight(), robot=LIBERO, overwrite=True, progress=False)
    assert stored_producer(dataset.root) == "hindsight"


def test_a_part_keeps_the_other_episodes_reports(tmp_path: Path):
    dataset = write(tmp_path / "d", [(libero_states(grasp=number > 0), PUT) for number in range(3)])
    label_dataset(dataset, Hindsight(), robot=LIBERO, progress=False)
    label_dataset(dataset, Hindsight(), robot=ROBOTS["libero_front"], episodes=[2], progress=False)
    stored = json.loads((dataset.root / REPORT_FILE).read_text(encoding="utf-8"))
    assert list(stored["by_episode"]) == ["0", "1", "2"]
    assert stored["refused"] == {"never grasped": 2}
    with pytest.raises(ValueError, match="empty"):
        label_dataset(dataset, Hindsight(), robot=LIBERO, episodes=range(2, 2), progress=False)


def test_changed_inputs_are_not_resumed(tmp_path: Path):
    path, file = tmp_path / "cached.json", tmp_path / "input.json"
    file.write_text("old", encoding="utf-8")
    inputs = episode_cache.digest([file])
    episode_cache.save(path, [], {}, inputs=inputs, rows="a")
    assert episode_cache.load(path, inputs=inputs, rows="a") is not None
    assert episode_cache.load(path, inputs=inputs, rows="b") is None
    file.write_text("new", encoding="utf-8")
    assert episode_cache.load(path, inputs=episode_cache.digest([file]), rows="a") is None


@pytest.mark.parametrize("column", ["state", "actions", "timestamp"])
def test_an_episode_whose_rows_have_changed_is_labelled_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str
):
    dataset = write(tmp_path / "d", [(libero_states(shift=0.01 * number), PUT) for number in range(3)])
    original, seen = hindsight_producer.hindsight, []

    def counting(*args: Any, die_at: int, **kwargs: Any):
        if len(seen) == die_at:
            raise KeyboardInterrupt
        seen.append(args[1][25, 0])
        return original(*args, **kwargs)

    monkeypatch.setattr(hindsight_producer, "hindsight", functools.partial(counting, die_at=2))
    with pytest.raises(KeyboardInterrupt):
        label_dataset(dataset, Hindsight(), robot=LIBERO, progress=False)
    changed = change(dataset, column=column, row=LENGTH + 25)  # of episode 1, which was kept; lengths and tasks stay
    seen.clear()
    monkeypatch.setattr(hindsight_producer, "hindsight", functools.partial(counting, die_at=-1))
    label_dataset(changed, Hindsight(), robot=LIBERO, progress=False)
    states = changed.columns(["state"])["state"]
    assert seen == [states[episode * LENGTH + 25, 0] for episode in (1, 2)]  # episode 0 was taken over
    resumed = (dataset.root / FACTS_PATH).read_bytes()
    label_dataset(changed, Hindsight(), robot=LIBERO, progress=False)
    assert (dataset.root / FACTS_PATH).read_bytes() == resumed


def test_labels_of_changed_episodes_do_not_stay_beside_new_ones(tmp_path: Path):
    dataset = write(tmp_path / "d", [(libero_states(), PUT)] * 3)
    label_dataset(dataset, Hindsight(), robot=LIBERO, progress=False)
    before = (dataset.root / FACTS_PATH).read_bytes()
    changed = change(dataset, column="state", row=2 * LENGTH + 25)
    with pytest.raises(DatasetError, match=r"1 episodes have changed since they were labelled \(\[2\]\)"):
        label_dataset(changed, Hindsight(), robot=LIBERO, episodes=[0], progress=False)
    assert (dataset.root / FACTS_PATH).read_bytes() == before
    label_dataset(changed, Hindsight(), robot=LIBERO, episodes=[2], progress=False)
    label_dataset(changed, Hindsight(), robot=LIBERO, episodes=[0], progress=False)
    np.testing.assert_allclose(
        FactsTable.load(dataset.root).facts(2, 25).targets[1].offset_m,
        BIN - changed.columns(["state"])["state"][2 * LENGTH + 25, :3],
        atol=1e-6,
    )


def test_memory_does_not_grow_with_the_number_of_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The facts of ten times as many episodes would be 16 times as large; the reports of them are what grows."""
    monkeypatch.setattr(facts, "_WRITTEN_ROWS", 64)

    def peak_bytes(episodes: int) -> int:
        dataset = write(tmp_path / str(episodes), [(libero_states(), PUT)] * episodes)
        label = functools.partial(label_dataset, dataset, Hindsight(), robot=LIBERO, progress=False)
        label()  # imports and caches
        tracemalloc.start()
        try:
            label()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many = peak_bytes(4), peak_bytes(40)
    a_frame = 1000  # bytes of two targets as Python objects, at the least; 36 more episodes have 2160 frames
    assert many - few < 36 * LENGTH * a_frame / 5, (few, many)


def test_the_command_labels_and_says_what_it_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write(tmp_path / "d", [(libero_states(), PUT), (libero_states(grasp=False), PUT)])
    words = ["hindsight", "--root", tmp_path / "d"]
    done = ended(main, words, capsys)
    assert done.status == 0
    assert "refused, 2 times: never grasped" in done.out
    assert (tmp_path / "d" / FACTS_PATH).is_file()
    failed = ended(main, [*words, "--robot", "pandda"], capsys)
    assert failed.status == 2
    assert failed.err.startswith("error: ")
    assert not failed.err.startswith(("error: '", 'error: "'))  # as KeyError prints
    assert "pandda" in failed.err
    assert "Traceback" not in failed.err
