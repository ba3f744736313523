"""Written datasets equal LeRobot's, are exact and compact, and exist completely or not at all."""

from __future__ import annotations

import json
from pathlib import Path
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.writer import DatasetWriter
from tests.data.synthetic import FEATURES, GOLDEN, HW, episode_columns, write_dataset

GOLDEN_FEATURES = {
    "image": {"dtype": "image", "shape": (64, 64, 3), "names": ["height", "width", "channel"]},
    "state": {"dtype": "float32", "shape": (8,), "names": ["state"]},
    "actions": {"dtype": "float32", "shape": (7,), "names": ["actions"]},
}


def rewrite_golden(root: Path, storage) -> Path:
    """The sample datasets of LeRobot, written again by us."""
    random = np.random.RandomState(0)
    with DatasetWriter(root, fps=10, robot_type="panda", features=GOLDEN_FEATURES, image_storage=storage) as writer:
        for episode in range(3):
            rows = [(random.randn(8), random.randn(7)) for _ in range(12)]
            state, actions = (np.array(column, np.float32) for column in zip(*rows, strict=True))
            image = [np.full((64, 64, 3), (60 * episode + 5 * i) % 255, np.uint8) for i in range(12)]
            writer.add_episode({"image": image, "state": state, "actions": actions}, f"task {episode % 2}")
    return root


@pytest.mark.parametrize("storage", ["image", "video"])
def test_same_layout_as_lerobot(tmp_path: Path, storage) -> None:
    """Files, info.json, column types and metadata of every table equal those that LeRobot wrote for the same data."""
    theirs, ours = GOLDEN / "lerobot_v3" / storage, rewrite_golden(tmp_path / "set", storage)
    files = [sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()) for root in (theirs, ours)]
    assert files[0] == files[1]
    info = [json.loads((root / "meta" / "info.json").read_text(encoding="utf-8")) for root in (theirs, ours)]
    assert info[0] == info[1]
    for name in (f for f in files[0] if f.endswith(".parquet")):
        schemas = [pq.read_schema(root / name) for root in (theirs, ours)]
        assert schemas[0].equals(schemas[1]), name
        metadata = [schema.metadata or {} for schema in schemas]
        assert metadata[0].keys() == metadata[1].keys(), name
        if b"huggingface" in metadata[0]:
            descriptions = [json.loads(m[b"huggingface"])["info"] for m in metadata]
            assert descriptions[0] == descriptions[1]
        if b"pandas" in metadata[0]:
            index = [json.loads(m[b"pandas"])["index_columns"] for m in metadata]
            assert index[0] == index[1] == ["__index_level_0__"]
    data = [pq.ParquetFile(root / "data/chunk-000/file-000.parquet").metadata for root in (theirs, ours)]
    assert data[0].num_row_groups == data[1].num_row_groups == 3, "one row group per episode"


@pytest.mark.parametrize("storage", ["image", "video"])
def test_same_statistics_as_lerobot(tmp_path: Path, storage) -> None:
    """Exact ones agree to rounding. Of quantiles (from LeRobot's histograms) and a camera's `std` (LeRobot leaves out
    the variation between frames: 0 for an episode of plain frames of different greys) only shapes are compared.
    """
    roots = GOLDEN / "lerobot_v3" / storage, rewrite_golden(tmp_path / "set", storage)
    theirs, ours = (json.loads((root / "meta" / "stats.json").read_text(encoding="utf-8")) for root in roots)
    assert theirs.keys() == ours.keys()
    for feature, stats in theirs.items():
        assert stats.keys() == ours[feature].keys()
        for name, value in stats.items():
            assert np.shape(value) == np.shape(ours[feature][name]), (feature, name)
            if not (name.startswith("q") or (feature, name) == ("image", "std")):
                np.testing.assert_allclose(value, ours[feature][name], atol=1e-6, err_msg=f"{feature} {name}")
    episodes = [pq.read_table(root / "meta/episodes/chunk-000/file-000.parquet").to_pylist() for root in roots]
    for left, right in zip(*episodes, strict=True):
        for name, value in left.items():
            if "/q" not in name and name not in ("tasks", "stats/image/std"):
                np.testing.assert_allclose(value, right[name], atol=1e-6, err_msg=name)
        assert left["tasks"] == right["tasks"]


@pytest.mark.parametrize(("storage", "codec"), [("image", "av1"), ("video", "av1"), ("video", "h264")])
def test_round_trip(tmp_path: Path, storage, codec) -> None:
    root = write_dataset(tmp_path / "set", (7, 5, 6), storage=storage, codec=codec)
    dataset = LeRobotDataset(root)
    assert [e.length for e in dataset.episodes] == [7, 5, 6]
    for episode in dataset.episodes:
        written = episode_columns(episode.index, episode.length)
        for frame in range(episode.length):
            row = dataset.row(episode.start + frame)
            assert row["task"] == f"put thing {episode.index % 2} on the plate"
            for name in ("state", "actions", "image_age_s"):
                np.testing.assert_array_equal(row[name], written[name][frame])
            for name in ("image", "wrist_image"):
                difference = np.abs(row[name].astype(float) - written[name][frame]).mean()
                assert difference == 0 if storage == "image" else difference < 8


def test_quantiles_are_exact(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "set", (40, 30))
    stats = json.loads((root / "meta" / "stats.json").read_text(encoding="utf-8"))
    columns = [episode_columns(e, n) for e, n in enumerate((40, 30))]
    state = np.concatenate([c["state"] for c in columns]).astype(float)
    np.testing.assert_allclose(stats["state"]["q99"], np.quantile(state, 0.99, axis=0))
    pixels = np.concatenate([c["image"] for c in columns]).reshape(-1, 3) / 255
    for name, expected in {"mean": pixels.mean(0), "std": pixels.std(0), "min": pixels.min(0)}.items():
        np.testing.assert_allclose(np.ravel(stats["image"][name]), expected, atol=1e-9)
    expected = np.quantile(pixels, 0.1, axis=0, method="lower")
    np.testing.assert_allclose(np.ravel(stats["image"]["q10"]), expected, atol=1e-9)


def test_repeated_pictures_cost_nothing(tmp_path: Path) -> None:
    """150 noisy pictures (12 kB each: together beyond parquet's default dictionary) weigh the same on 3000 rows."""
    features = {"image": {"dtype": "image", "shape": (64, 64, 3)}}
    pictures = np.random.default_rng(0).integers(0, 256, (150, 64, 64, 3), dtype=np.uint8)
    sizes = {}
    for name, sequence in {"once": list(pictures), "repeated": [pictures[i // 20] for i in range(3000)]}.items():
        with DatasetWriter(tmp_path / name, fps=10, robot_type=None, features=features) as writer:
            writer.add_episode({"image": sequence}, "look")
        sizes[name] = (tmp_path / name / "data/chunk-000/file-000.parquet").stat().st_size
    assert sizes["once"] > 1_500_000
    assert sizes["repeated"] < 1.05 * sizes["once"]
    dataset = LeRobotDataset(tmp_path / "repeated")
    np.testing.assert_array_equal(dataset.row(2999)["image"], pictures[149])


def test_large_recordings_go_to_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATA_FILE_MB", "VIDEO_FILE_MB"):
        monkeypatch.setattr(f"inspire_fast.data.lerobot.files.{name}", 0)
    monkeypatch.setattr("inspire_fast.data.lerobot.files.CHUNK_FILES", 2)
    for storage in ("image", "video"):
        root = write_dataset(tmp_path / storage, (20, 21, 22), storage=storage)
        dataset = LeRobotDataset(root)
        assert [e.data_path.relative_to(root).as_posix() for e in dataset.episodes] == [
            "data/chunk-000/file-000.parquet",
            "data/chunk-000/file-001.parquet",
            "data/chunk-001/file-000.parquet",
        ]
        written = episode_columns(2, 22)
        row = dataset.row(20 + 21 + 5)
        np.testing.assert_array_equal(row["state"], written["state"][5])
        assert np.abs(row["image"].astype(float) - written["image"][5]).mean() < 8


def test_refuses_what_is_there(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "set", (4,))
    with pytest.raises(FileExistsError, match=r"not empty.*remove this one.*--storage\.overwrite"):
        write_dataset(root, (5,))
    write_dataset(root, (5,), overwrite=True)
    assert len(LeRobotDataset(root)) == 5
    assert [p.name for p in tmp_path.iterdir()] == ["set"], "nothing is left beside it"
    with DatasetWriter(tmp_path / "other", fps=20, robot_type=None, features=FEATURES) as writer:
        writer.add_episode(episode_columns(0, 3), "a task")
        with pytest.raises(FileExistsError, match="Another process"):
            DatasetWriter(tmp_path / "other", fps=20, robot_type=None, features=FEATURES)
    assert len(LeRobotDataset(tmp_path / "other")) == 3


def test_failed_recording_leaves_nothing(tmp_path: Path) -> None:

    def record() -> None:
        with DatasetWriter(tmp_path / "set", fps=20, robot_type=None, features=FEATURES) as writer:
            writer.add_episode(episode_columns(0, 3), "a task")
            raise RuntimeError("robot fell over")

    with pytest.raises(RuntimeError, match="robot fell over"):
        record()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="No episode"):
        DatasetWriter(tmp_path / "set", fps=20, robot_type=None, features=FEATURES).close()
    assert list(tmp_path.iterdir()) == []


def test_killed_writer_leaves_no_dataset_and_the_next_one_clears_up(tmp_path: Path) -> None:
    program = (
        "import sys, time, pathlib\n"
        "from inspire_fast.data.lerobot.writer import DatasetWriter\n"
        "from tests.data.synthetic import FEATURES, episode_columns\n"
        "writer = DatasetWriter(pathlib.Path(sys.argv[1]), fps=20, robot_type=None, features=FEATURES)\n"
        "writer.add_episode(episode_columns(0, 3), 'a task')\n"
        "print('written', flush=True)\n"
        "time.sleep(60)\n"
    )
    root = tmp_path / "set"
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(root)],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not root.exists()
    assert [p.name for p in tmp_path.iterdir()] == [".set.partial"]
    assert not list(tmp_path.rglob("info.json"))
    time.sleep(0.05)
    write_dataset(root, (4,))
    assert [p.name for p in tmp_path.iterdir()] == ["set"]
    assert len(LeRobotDataset(root)) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": None}, r"missing columns \['state'\]"),
        ({"extra": np.zeros(4)}, r"unknown columns \['extra'\]"),
        ({"state": np.zeros((3, 8), np.float32)}, "equally long"),
        ({"state": np.zeros((4, 7), np.float32)}, r"column 'state': expected \(8,\) per frame; got \(7,\)"),
        ({"state": np.full((4, 8), np.nan, np.float32)}, "column 'state': NaN or infinity at frame 0"),
        ({"state": np.zeros((4, 8), np.complex64)}, "complex64 cannot be stored as float32"),
        ({"image": np.zeros((4, *HW, 3), np.float32)}, r"frame 0, camera 'image': expected uint8 \(32, 32, 3\)"),
    ],
)
def test_refused_episodes_leave_no_trace(tmp_path: Path, change, message: str) -> None:
    good = episode_columns(0, 4)
    bad = {name: value for name, value in {**good, **change}.items() if value is not None}
    with DatasetWriter(tmp_path / "set", fps=20, robot_type=None, features=FEATURES, image_storage="video") as writer:
        with pytest.raises(ValueError, match=f"Episode 0.*{message}"):
            writer.add_episode(bad, "a bad task")
        with pytest.raises(ValueError, match="has no task"):
            writer.add_episode(good, "")
        writer.add_episode(good, "a task")
    dataset = LeRobotDataset(tmp_path / "set")
    assert (len(dataset), dataset.tasks) == (4, {0: "a task"})


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "message"),
    [
        ("timestamp", "float32", (1,), "adds"),
        ("pose", "float32", (4, 4), "flatten"),
        ("pose", "float12", (4,), "unknown dtype"),
        ("image", "image", (64, 64), r"\(height, width, 3\)"),
    ],
)
def test_features_that_cannot_be_stored(tmp_path: Path, name: str, dtype: str, shape, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DatasetWriter(tmp_path / "set", fps=20, robot_type=None, features={name: {"dtype": dtype, "shape": shape}})
    assert list(tmp_path.iterdir()) == []
