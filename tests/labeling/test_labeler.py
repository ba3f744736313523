import json
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest

from inspire_fast.core.types import SceneFacts
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.facts import FACTS_PATH, FactsTable, stored_producer, write_facts
from inspire_fast.labeling import labeler, producers
from inspire_fast.labeling.labeler import REPORT_FILE, label_dataset
from inspire_fast.labeling.producers import Hindsight
from inspire_fast.robots import ROBOTS
from tests.labeling.datasets import BIN, CAN, LENGTH, damage, libero_states, write

LIBERO = ROBOTS["libero"]
PUT = "put the can in the bin"
SCRIPT = Path(__file__).parents[2] / "scripts" / "label_dataset.py"


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
    original, done = producers.hindsight, []

    def dying(*args: object, **kwargs: object):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(1)
        return original(*args, **kwargs)

    monkeypatch.setattr(producers, "hindsight", dying)
    with pytest.raises(KeyboardInterrupt):
        label_dataset(dataset, Hindsight(), robot=LIBERO, progress=False)
    assert not (dataset.root / FACTS_PATH).exists()  # all or nothing
    later: list[int] = []
    monkeypatch.setattr(producers, "hindsight", lambda *a, **k: (later.append(1), original(*a, **k))[1])
    label_dataset(dataset, Hindsight(), robot=LIBERO, progress=False)
    assert len(later) == 2
    resumed = (dataset.root / FACTS_PATH).read_bytes()
    label_dataset(dataset, Hindsight(), robot=LIBERO, progress=False)
    assert (dataset.root / FACTS_PATH).read_bytes() == resumed


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
    assert report.refused == {"never grasped": 2}
    stored = json.loads((dataset.root / REPORT_FILE).read_text())
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
    with pytest.raises(DatasetError, match=r"droid.*--gripper FILE"):
        label_dataset(dataset, Hindsight(), robot=ROBOTS["droid"], progress=False)
    with pytest.raises(DatasetError, match="shape"):
        label_dataset(dataset, Hindsight(), robot=ROBOTS["inspire_arm"], progress=False)


def test_a_robot_whose_gripper_is_described_in_a_file(tmp_path: Path):
    dataset = write(tmp_path / "d", [(libero_states(), PUT)])
    path = tmp_path / "gripper.json"
    path.write_text(json.dumps({"position": [0, 1, 2], "opening": {"6": 2.0}, "closed_below": 0.9, "open_above": 0.93}))
    known = label_dataset(dataset, Hindsight(), robot=LIBERO, progress=False)
    given = label_dataset(dataset, Hindsight(gripper=path), robot=LIBERO, progress=False)
    assert given.frames_labelled == known.frames_labelled > 0
    path.write_text('{"position": [0, 1, 8], "opening": {"6": 1.0}}')
    with pytest.raises(DatasetError, match=r"dimensions 0\.\.7"):
        label_dataset(dataset, Hindsight(gripper=path), robot=LIBERO, progress=False)


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
    stored = json.loads((dataset.root / REPORT_FILE).read_text())
    assert list(stored["by_episode"]) == ["0", "1", "2"]
    assert stored["refused"] == {"never grasped": 2}
    with pytest.raises(ValueError, match="empty"):
        label_dataset(dataset, Hindsight(), robot=LIBERO, episodes=range(2, 2), progress=False)


def test_changed_inputs_are_not_resumed(tmp_path: Path):
    kept, file = tmp_path / "kept.json", tmp_path / "input.json"
    file.write_text("old")
    kept.write_text(json.dumps({"facts": [], "report": {}, "inputs": labeler._digest([file])}))
    assert labeler._load(kept, labeler._digest([file])) is not None
    file.write_text("new")
    assert labeler._load(kept, labeler._digest([file])) is None


def test_the_command_labels_and_says_what_it_refused(tmp_path: Path):
    write(tmp_path / "d", [(libero_states(), PUT), (libero_states(grasp=False), PUT)])
    command = [sys.executable, str(SCRIPT), "hindsight", "--root", str(tmp_path / "d")]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    assert "refused, 2 times: never grasped" in out.stdout
    assert (tmp_path / "d" / FACTS_PATH).is_file()
    failed = subprocess.run([*command, "--robot", "pandda"], capture_output=True, text=True, check=False, timeout=240)
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: ")
    assert not failed.stderr.startswith(("error: '", 'error: "'))  # as KeyError prints
    assert "pandda" in failed.stderr
    assert "Traceback" not in failed.stderr
