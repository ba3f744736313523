"""LeRobot's own datasets read exactly; damaged ones are named."""

from __future__ import annotations

import json
from pathlib import Path
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inspire_fast.data.errors import DatasetError, DatasetNotFoundError
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from tests.data.synthetic import GOLDEN, smooth_image, write_dataset


def golden(name: str) -> Path:
    return GOLDEN / "lerobot_v3" / name


@pytest.fixture
def copy(tmp_path: Path):
    """A writable copy of one of LeRobot's own datasets."""

    def make(name: str) -> Path:
        shutil.copytree(golden(name), tmp_path / name)
        return tmp_path / name

    return make


@pytest.mark.parametrize(("name", "tolerance"), [("image", 0.0), ("video", 1.0)])
def test_reads_what_lerobot_wrote(name: str, tolerance: float) -> None:
    """The datasets' own recipe: frame i of episode e is constant (60 e + 5 i) mod 255, numbers are RandomState(0)'s."""
    dataset = LeRobotDataset(golden(name))
    random = np.random.RandomState(0)
    rows = [(random.randn(8), random.randn(7)) for _ in range(36)]
    state, actions = (np.array(column, np.float32) for column in zip(*rows, strict=True))

    assert (len(dataset), len(dataset.episodes), dataset.fps) == (36, 3, 10.0)
    columns = dataset.columns(["state", "actions", "episode_index", "frame_index", "index"])
    np.testing.assert_array_equal(columns["state"], state)
    np.testing.assert_array_equal(columns["actions"], actions)
    np.testing.assert_array_equal(columns["episode_index"], np.repeat([0, 1, 2], 12))
    np.testing.assert_array_equal(columns["index"], np.arange(36))
    for index in np.random.default_rng(0).permutation(36):
        row = dataset.row(int(index))
        episode, frame = divmod(int(index), 12)
        assert row["image"].shape == (64, 64, 3)
        assert row["image"].dtype == np.uint8
        assert np.abs(row["image"].astype(float) - (60 * episode + 5 * frame) % 255).mean() <= tolerance
        assert row["task"] == f"task {episode % 2}"
        np.testing.assert_array_equal(row["state"], state[index])
        assert (row["frame_index"], row["timestamp"]) == (frame, np.float32(frame / 10))


def test_episodes_and_location() -> None:
    dataset = LeRobotDataset(golden("video"))
    episode, frame = dataset.locate(25)
    assert (episode.index, frame, episode.start, episode.stop, episode.tasks) == (2, 1, 24, 36, ("task 0",))
    with pytest.raises(IndexError, match="36 rows"):
        dataset.row(36)
    with pytest.raises(IndexError, match="3 episodes"):
        dataset.episode(3)


def test_columns_never_touch_pictures(copy) -> None:
    root = copy("video")
    shutil.rmtree(root / "videos")
    dataset = LeRobotDataset(root)
    assert dataset.columns(["state"])["state"].shape == (36, 8)
    assert dataset.row(3, ["state"])["task"] == "task 0"
    with pytest.raises(DatasetError, match=r"Episode 1, frame 2, 'image'.*file-000\.mp4 does not exist"):
        dataset.row(14)


def test_frames_are_decoded_once_and_within_the_budget(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "set", rendered_every=3)
    dataset = LeRobotDataset(root)
    first = dataset.row(0)["image"]
    assert dataset.row(2)["image"] is first, "a repeated picture is one array"
    assert dataset.row(3)["image"] is not first
    assert not first.flags.writeable
    tiny = LeRobotDataset(root, cache_bytes=4 * first.nbytes)
    for index in [*range(len(tiny)), 0]:
        tiny.row(index)
    assert 0 < tiny._frames._cache.nbytes <= 4 * first.nbytes
    np.testing.assert_array_equal(tiny.row(0)["image"], first)


def test_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"looked for meta/info\.json, but the folder does not exist"):
        LeRobotDataset(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="it holds"):
        LeRobotDataset(GOLDEN)


def test_missing_column_suggests_one() -> None:
    with pytest.raises(DatasetError, match=r"column 'action'.*Did you mean 'actions'.*state"):
        LeRobotDataset(golden("image")).columns(["action"])
    with pytest.raises(DatasetError, match="holds images"):
        LeRobotDataset(golden("image")).columns(["image"])


def test_wrong_version_and_totals(copy) -> None:
    root = copy("image")
    path = root / "meta" / "info.json"
    info = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**info, "codebase_version": "v1.6"}), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"'v1\.6'.*supports v2\.0, v2\.1, v3\.0"):
        LeRobotDataset(root)
    path.write_text(json.dumps({**info, "total_frames": 40}), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"announces 3 episodes and 40 frames.*lists 3 and 36"):
        LeRobotDataset(root)


def test_damaged_files_are_named(copy) -> None:
    root = copy("video")
    video = root / "videos" / "image" / "chunk-000" / "file-000.mp4"
    video.write_bytes(b"nonsense" * 100)
    with pytest.raises(DatasetError, match=r"Episode 0, frame 5, 'image'.*file-000\.mp4 cannot be opened"):
        LeRobotDataset(root).row(5)
    data = root / "data" / "chunk-000" / "file-000.parquet"
    data.write_bytes(data.read_bytes()[:3000])
    with pytest.raises(DatasetError, match=r"file-000\.parquet.*cannot be read as parquet"):
        LeRobotDataset(root).row(5)
    data.unlink()
    with pytest.raises(DatasetError, match=r"file-000\.parquet.*does not exist"):
        LeRobotDataset(root).columns(["state"])


def test_damaged_picture_is_named(copy) -> None:
    root = copy("image")
    path = root / "data" / "chunk-000" / "file-000.parquet"
    table = pq.read_table(path)
    images = table["image"].to_pylist()
    images[13]["bytes"] = images[13]["bytes"][:60]
    pq.write_table(table.set_column(0, "image", pa.array(images, table.schema.field("image").type)), path)
    dataset = LeRobotDataset(root)
    dataset.row(12)
    with pytest.raises(DatasetError, match=r"Episode 1, frame 1, 'image'.*cannot be decoded"):
        dataset.row(13)


def test_video_shorter_than_its_index(copy) -> None:
    root = copy("video")
    path = root / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
    table = pq.read_table(path)
    column = "videos/image/from_timestamp"
    shifted = pa.array([0.0, 1.2, 3.2])
    pq.write_table(table.set_column(table.column_names.index(column), column, shifted), path)
    dataset = LeRobotDataset(root)
    assert dataset.row(24)["image"].mean() == pytest.approx(120 + 5 * 8, abs=1)
    with pytest.raises(DatasetError, match=r"Episode 2, frame 6.*shorter than its index says: it lasts 3\.600 s"):
        dataset.row(30)


def test_row_count_and_order_are_checked(copy) -> None:
    root = copy("image")
    path = root / "data" / "chunk-000" / "file-000.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 30), path)
    with pytest.raises(DatasetError, match=r"episodes 0\.\.2.*30 rows; the episode table expects 36"):
        LeRobotDataset(root).columns(["state"])
    pq.write_table(pa.concat_tables([table.slice(12, 24), table.slice(0, 12)]), path)
    with pytest.raises(DatasetError, match="row 0 belongs to episode 1, the episode table says 0"):
        LeRobotDataset(root).columns(["state"])


def test_unknown_task(copy) -> None:
    root = copy("image")
    path = root / "meta" / "tasks.parquet"
    pq.write_table(pq.read_table(path).slice(0, 1), path)
    assert LeRobotDataset(root).task(0) == "task 0"
    with pytest.raises(DatasetError, match="episode 1, frame 3 has no instruction: its task_index is 1"):
        LeRobotDataset(root).row(15)


def _as_v2(source: LeRobotDataset, root: Path, version: str, *, embedded: bool) -> None:
    """Rewrites a v3.0 image dataset in the layout of v2.x: a file per episode, JSON lines, images embedded or not."""
    table = pq.read_table(source.root / "data" / "chunk-000" / "file-000.parquet")
    (root / "meta").mkdir(parents=True)
    for episode in source.episodes:
        part = table.slice(episode.start, episode.length)
        if not embedded:
            rows = []
            for frame, stored in enumerate(part["image"].to_pylist()):
                place = f"images/image/episode_{episode.index:06d}/frame_{frame:06d}.png"
                (root / place).parent.mkdir(parents=True, exist_ok=True)
                (root / place).write_bytes(stored["bytes"])
                rows.append({"bytes": None, "path": place})
            part = part.set_column(0, "image", pa.array(rows, table.schema.field("image").type))
        path = root / f"data/chunk-{episode.index // 2:03d}/episode_{episode.index:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(part, path)
    info = {
        **source.meta.info,
        "codebase_version": version,
        "chunks_size": 2,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    }
    episodes = [{"episode_index": e.index, "tasks": list(e.tasks), "length": e.length} for e in source.episodes]
    tasks = [{"task_index": number, "task": text} for number, text in source.tasks.items()]
    (root / "meta" / "info.json").write_text(json.dumps(info), encoding="utf-8")
    (root / "meta" / "episodes.jsonl").write_text("\n".join(map(json.dumps, episodes)) + "\n", encoding="utf-8")
    (root / "meta" / "tasks.jsonl").write_text("\n".join(map(json.dumps, tasks)) + "\n", encoding="utf-8")


@pytest.mark.parametrize("embedded", [True, False])
@pytest.mark.parametrize("version", ["v2.0", "v2.1"])
def test_older_layouts_read_the_same(tmp_path: Path, version: str, embedded: bool) -> None:
    new = LeRobotDataset(golden("image"))
    _as_v2(new, tmp_path / "old", version, embedded=embedded)
    old = LeRobotDataset(tmp_path / "old")
    assert (len(old), old.tasks, old.fps) == (len(new), new.tasks, new.fps)
    for index in (0, 13, 35):
        left, right = new.row(index), old.row(index)
        assert left.keys() == right.keys()
        for name, value in left.items():
            np.testing.assert_array_equal(value, right[name], err_msg=name)


@pytest.mark.parametrize("codec", ["av1", "h264"])
def test_random_access_equals_reading_in_order(tmp_path: Path, codec) -> None:
    root = write_dataset(tmp_path / "set", lengths=(25, 30), storage="video", codec=codec)
    order = np.random.default_rng(1).permutation(55)
    shuffled = LeRobotDataset(root, cache_bytes=64 << 20)
    for index in order:
        episode, frame = shuffled.locate(int(index))
        image = shuffled.row(int(index))["image"].astype(float)
        others = [np.abs(image - smooth_image(100 * episode.index + f)).mean() for f in (frame - 1, frame, frame + 1)]
        assert others[1] == min(others), "the frame itself, not a neighbour"
        assert others[1] < 8
