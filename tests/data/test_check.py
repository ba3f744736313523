"""Bad episodes: refused by name, or left out by an explicit flag and listed. Nothing is dropped silently."""

from __future__ import annotations

import json
import logging
from pathlib import Path
import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inspire_fast.data.chunks import ChunkConfig, ChunkSource
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.facts import FactsTable
from inspire_fast.data.lerobot.check import find_bad_episodes
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.writer import DatasetWriter
from inspire_fast.robots import ROBOTS
from tests.data.synthetic import FEATURES, episode_columns, label

LIBERO = ROBOTS["libero"]
LENGTHS = (7, 9, 8, 6)
ALL = list(FEATURES)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Sound datasets: a file per episode (v2.1), with images and with videos; labelled."""
    roots = {}
    for storage in ("image", "video"):
        root = tmp_path_factory.mktemp("originals") / storage
        with DatasetWriter(
            root,
            fps=20,
            robot_type="panda",
            features=FEATURES,
            image_storage=storage,
            video_codec="h264",
            version="v2.1",
        ) as writer:
            for episode, length in enumerate(LENGTHS):
                writer.add_episode(episode_columns(episode, length), task=f"put thing {episode} on the plate")
        label(root, LENGTHS)
        roots[storage] = root
    return roots


def edit(root: Path, episode: int, column: str, change) -> None:
    """Changes one column of one episode's file; `change` maps its values to new ones (None: drops the column)."""
    path = root / f"data/chunk-000/episode_{episode:06d}.parquet"
    table = pq.read_table(path)
    if change is None:
        pq.write_table(table.drop_columns([column]), path)
        return
    values = change(table[column].to_pylist())
    place = table.column_names.index(column)
    pq.write_table(table.set_column(place, column, pa.array(values, table.schema.field(column).type)), path)


def nan_at(frame: int, dim: int):
    def change(rows: list) -> list:
        rows[frame][dim] = float("nan")
        return rows

    return change


def data_file(root: Path) -> Path:
    return root / "data/chunk-000/episode_000002.parquet"


def video_file(root: Path) -> Path:
    return root / "videos/chunk-000/wrist_image/episode_000002.mp4"


def empty_task(root: Path, text: str = "") -> None:
    path = root / "meta" / "tasks.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines[2]["task"] = text
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


# What makes episode 2 (8 frames) unusable; episode 3 has 6.
DAMAGE = {
    "corrupt parquet": lambda root: data_file(root).write_bytes(data_file(root).read_bytes()[:500]),
    "parquet missing": lambda root: data_file(root).unlink(),
    "rows missing": lambda root: pq.write_table(pq.read_table(data_file(root)).slice(0, 5), data_file(root)),
    "column missing": lambda root: edit(root, 2, "state", None),
    "nan state": lambda root: edit(root, 2, "state", nan_at(3, 4)),
    "nan action": lambda root: edit(root, 2, "actions", nan_at(7, 6)),
    "no task": lambda root: edit(root, 2, "task_index", lambda rows: [*rows[:5], *[77] * 3]),
    "empty task": empty_task,
    "blank task": lambda root: empty_task(root, "   "),
    "wrong fps": lambda root: edit(root, 2, "timestamp", lambda rows: [2 * value for value in rows]),
    "corrupt mp4": lambda root: video_file(root).write_bytes(b"nonsense" * 50),
    "mp4 missing": lambda root: video_file(root).unlink(),
    "short mp4": lambda root: shutil.copy(video_file(root).with_name("episode_000003.mp4"), video_file(root)),
}
CASES = [
    ("image", "corrupt parquet", r"episode_000002\.parquet.*cannot be read as parquet"),
    ("image", "parquet missing", r"episode_000002\.parquet does not exist"),
    ("image", "rows missing", r"episode_000002\.parquet \(episodes 2\.\.2\) has 5 rows; the episode table expects 8"),
    ("image", "column missing", r"episode_000002\.parquet lacks the columns \['state'\]"),
    ("image", "nan state", r"episode_000002\.parquet: episode 2, frame 3: state\[4\] is nan"),
    ("image", "nan action", r"episode_000002\.parquet: episode 2, frame 7: actions\[6\] is nan"),
    ("image", "no task", r"episode_000002\.parquet: episode 2, frame 5: no instruction; task_index is 77"),
    ("image", "empty task", r"episode_000002\.parquet: episode 2, frame 0: no instruction; task_index is 2"),
    (
        "video",
        "wrong fps",
        r"episode 2, frame 0: the next frame is 0\.1000 s later; at the dataset's 20 frames per second",
    ),
    ("video", "corrupt mp4", r"Episode 2, frame 0, 'wrist_image': .*episode_000002\.mp4 cannot be opened"),
    ("video", "mp4 missing", r"Episode 2, frame 0, 'wrist_image': .*episode_000002\.mp4 does not exist"),
    ("video", "short mp4", r"Episode 2, frame 6, 'wrist_image': .*episode_000002\.mp4 is shorter than its index says"),
]


@pytest.mark.parametrize(("storage", "kind", "message"), CASES, ids=[case[1] for case in CASES])
def test_named_and_skipped_only_when_told_to(
    originals, tmp_path: Path, caplog: pytest.LogCaptureFixture, storage: str, kind: str, message: str
) -> None:
    root = shutil.copytree(originals[storage], tmp_path / "set")
    whole = ChunkSource(LeRobotDataset(root), None, robot=LIBERO, horizon=3)
    DAMAGE[kind](root)

    def read_all(**flags) -> ChunkSource:
        source = ChunkSource(LeRobotDataset(root), None, robot=LIBERO, horizon=3, config=ChunkConfig(**flags))
        for i in range(len(source)):
            source[i]
        return source

    with pytest.raises(DatasetError, match=message):
        read_all()
    with caplog.at_level(logging.WARNING):
        source = read_all(skip_bad_episodes=True)
    assert list(source.skipped) == [2]
    assert re.search(message, source.skipped[2])
    assert any("episode 2 is skipped" in record.message for record in caplog.records)
    kept = [whole.location(i) for i in range(len(whole)) if whole.location(i)[0] != 2]
    assert [source.location(i) for i in range(len(source))] == kept, "rows keep their numbers"
    np.testing.assert_array_equal(
        source.states(), whole.states()[[whole.location(i)[0] != 2 for i in range(len(whole))]]
    )
    assert len(source.actions()) == sum(LENGTHS) - 8
    with pytest.raises(DatasetError, match="episode 2 is skipped"):
        source.dataset.row(source.dataset.episode(2).start)


def test_labels_stay_those_of_their_frames(originals, tmp_path: Path) -> None:
    root = shutil.copytree(originals["image"], tmp_path / "set")
    DAMAGE["corrupt parquet"](root)
    facts = FactsTable.load(root)
    source = ChunkSource(
        LeRobotDataset(root), facts, robot=LIBERO, horizon=3, config=ChunkConfig(skip_bad_episodes=True)
    )
    last = source[len(source) - 1]
    assert source.location(len(source) - 1) == (3, 5)
    np.testing.assert_array_equal(last.facts.targets[0].offset_m, facts.facts(3, 5).targets[0].offset_m)


def test_held_out_episodes_stay_the_same(originals, tmp_path: Path) -> None:
    root = shutil.copytree(originals["image"], tmp_path / "set")

    def episodes(split: str, **flags) -> set[int]:
        source = ChunkSource(
            LeRobotDataset(root),
            None,
            robot=LIBERO,
            horizon=3,
            config=ChunkConfig(split=split, held_out_every=2, **flags),
        )
        return {source.location(i)[0] for i in range(len(source))}

    before = episodes("train"), episodes("held_out")
    DAMAGE["nan state"](root)
    flags = {"skip_bad_episodes": True}
    assert (episodes("train", **flags), episodes("held_out", **flags)) == (before[0] - {2}, before[1] - {2})
    assert episodes("train", exclude_episodes=(2,)) == before[0] - {2}


def test_columns_that_are_not_read_may_hold_anything(originals, tmp_path: Path) -> None:
    root = shutil.copytree(originals["image"], tmp_path / "set")
    edit(root, 1, "actions", nan_at(0, 0))
    dataset = LeRobotDataset(root)
    assert find_bad_episodes(dataset, ["state", "image"]) == {}
    assert list(find_bad_episodes(dataset, ALL)) == [1]
    with pytest.raises(DatasetError, match=r"column 'gripper'"):
        find_bad_episodes(dataset, ["gripper"])


def test_every_bad_episode_is_listed(originals, tmp_path: Path) -> None:
    root = shutil.copytree(originals["video"], tmp_path / "set")
    edit(root, 0, "state", nan_at(1, 1))
    DAMAGE["short mp4"](root)
    (root / "data/chunk-000/episode_000003.parquet").write_bytes(b"")
    bad = find_bad_episodes(LeRobotDataset(root), ALL)
    assert list(bad) == [0, 2, 3]
    again = find_bad_episodes(LeRobotDataset(root).without(bad), ALL)
    assert again == {}
    everything = dict.fromkeys(range(4), "no")
    with pytest.raises(DatasetError, match="every episode is skipped"):
        LeRobotDataset(root).without(everything).columns(["state"])


def test_damaged_pictures_are_found_by_decoding(originals, tmp_path: Path) -> None:
    root = shutil.copytree(originals["image"], tmp_path / "set")

    def cut(rows: list) -> list:
        rows[4]["bytes"] = rows[4]["bytes"][:80]
        return rows

    edit(root, 1, "image", cut)
    dataset = LeRobotDataset(root)
    assert find_bad_episodes(dataset, ALL) == {}
    bad = find_bad_episodes(dataset, ALL, decode=True)
    assert list(bad) == [1]
    assert "Episode 1, frame 4, 'image'" in bad[1]
    source = ChunkSource(dataset, None, robot=LIBERO, horizon=3, config=ChunkConfig(exclude_episodes=bad))
    assert len(source) == sum(LENGTHS) - 9
    assert source.skipped == {1: "excluded by its number"}


def test_several_episodes_in_one_file(tmp_path: Path) -> None:
    """v3.0: a damaged file takes all its episodes along; NaN in one takes that one only."""
    root = tmp_path / "set"
    with DatasetWriter(root, fps=20, robot_type="panda", features=FEATURES) as writer:
        for episode, length in enumerate(LENGTHS):
            writer.add_episode(episode_columns(episode, length), task="a task")
    path = root / "data" / "chunk-000" / "file-000.parquet"
    table = pq.read_table(path)
    rows = table["state"].to_pylist()
    rows[7 + 2][0] = float("inf")
    place = table.column_names.index("state")
    pq.write_table(table.set_column(place, "state", pa.array(rows, table.schema.field("state").type)), path)
    bad = find_bad_episodes(LeRobotDataset(root), ALL)
    assert list(bad) == [1]
    assert "episode 1, frame 2: state[0] is inf" in bad[1]
    source = ChunkSource(
        LeRobotDataset(root), None, robot=LIBERO, horizon=3, config=ChunkConfig(skip_bad_episodes=True)
    )
    assert len(source) == sum(LENGTHS) - 9
    path.write_bytes(path.read_bytes()[:1000])
    assert list(find_bad_episodes(LeRobotDataset(root), ALL)) == [0, 1, 2, 3]
    with pytest.raises(DatasetError, match="every episode is skipped"):
        ChunkSource(LeRobotDataset(root), None, robot=LIBERO, horizon=3, config=ChunkConfig(skip_bad_episodes=True))


def test_an_empty_value_takes_its_episode_only(tmp_path: Path) -> None:
    root = tmp_path / "set"
    with DatasetWriter(root, fps=20, robot_type="panda", features=FEATURES) as writer:
        for episode, length in enumerate(LENGTHS):
            writer.add_episode(episode_columns(episode, length), task="a task")
    path = root / "data" / "chunk-000" / "file-000.parquet"
    table = pq.read_table(path)
    rows = table["state"].to_pylist()
    rows[7 + 2] = None
    place = table.column_names.index("state")
    pq.write_table(table.set_column(place, "state", pa.array(rows, table.schema.field("state").type)), path)
    bad = find_bad_episodes(LeRobotDataset(root), ALL)
    assert list(bad) == [1]
    assert "episode 1, frame 2: column 'state' has 1 empty values" in bad[1]
    for flags in ({"skip_bad_episodes": True}, {"exclude_episodes": (1,)}):
        source = ChunkSource(LeRobotDataset(root), None, robot=LIBERO, horizon=3, config=ChunkConfig(**flags))
        assert (list(source.skipped), len(source)) == ([1], sum(LENGTHS) - 9)
        np.testing.assert_array_equal(source.states()[7], rows[16])
