"""Files of other writers, built with pyarrow and PyAV: read correctly, or refused with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
import io
import itertools
import json
from pathlib import Path
from typing import Any

import av
from av.stream import Disposition
import numpy as np
from PIL import Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inspire_fast.data.converters.base import Storage
from inspire_fast.data.converters.lerobot import copy_dataset
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.check import find_bad_episodes
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.writer import DatasetWriter

LENGTHS = (4, 3, 5)
CAMERA = "observation.images.top"
FPS = 20


def picture(episode: int, frame: int, hw: tuple[int, int] = (32, 32)) -> np.ndarray:
    """Flat, and brighter by 8 with every frame: videos keep it."""
    return np.full((*hw, 3), 20 + 60 * episode + 8 * frame, np.uint8)


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()


def encode(
    path: Path, pictures: Sequence[np.ndarray], *, rate=FPS, first: int = 0, options: dict | None = None
) -> None:
    """H.264 with few key frames and pictures that refer to later ones, as cameras' own encoders write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options or {}) as container:
        stream: Any = container.add_stream("libx264", rate=rate, options={"g": "10", "bf": "3"})
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], "yuv420p"
        for number, array in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(array)
            frame.pts = first + number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def index_columns(lengths: Sequence[int], fps: float = FPS) -> dict[str, pa.Array]:
    owners = np.repeat(np.arange(len(lengths)), lengths)
    frames = np.concatenate([np.arange(n) for n in lengths])
    return {
        "timestamp": pa.array((frames / fps).astype(np.float32)),
        "frame_index": pa.array(frames),
        "episode_index": pa.array(owners),
        "index": pa.array(np.arange(len(owners))),
        "task_index": pa.array(np.zeros(len(owners), np.int64)),
    }


def write_v3(
    root: Path,
    columns: dict[str, tuple[pa.Array, dict]],
    *,
    lengths: Sequence[int] = LENGTHS,
    file_of: Sequence[int] | None = None,
    fps: float = FPS,
    videos: dict[str, Sequence[tuple[float, float]]] | None = None,
    **info: Any,
) -> Path:
    """A v3.0 dataset. `file_of`: the data file of each episode; `videos`: camera -> (from, to) of each episode."""
    plain = {
        name: (array, {"dtype": str(array.type), "shape": [1]}) for name, array in index_columns(lengths, fps).items()
    }
    plain["timestamp"] = plain["timestamp"][0], {"dtype": "float32", "shape": [1]}
    table = pa.table({name: array for name, (array, _) in {**plain, **columns}.items()})
    file_of = file_of or [0] * len(lengths)
    starts = np.cumsum([0, *lengths]).tolist()
    for number in sorted(set(file_of)):
        parts = [table.slice(starts[e], n) for e, n in enumerate(lengths) if file_of[e] == number]
        path = root / f"data/chunk-000/file-{number:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.concat_tables(parts), path)
    rows = [
        {
            "episode_index": e,
            "tasks": ["a task"],
            "length": n,
            "data/chunk_index": 0,
            "data/file_index": file_of[e],
            "dataset_from_index": starts[e],
            "dataset_to_index": starts[e] + n,
            **{
                f"videos/{camera}/{key}": value
                for camera, parts in (videos or {}).items()
                for key, value in zip(
                    ("chunk_index", "file_index", "from_timestamp", "to_timestamp"), (0, 0, *parts[e]), strict=True
                )
            },
        }
        for e, n in enumerate(lengths)
    ]
    (root / "meta/episodes/chunk-000").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), root / "meta/episodes/chunk-000/file-000.parquet")
    pq.write_table(pa.table({"task_index": [0], "task": ["a task"]}), root / "meta/tasks.parquet")
    features = {name: feature for name, (_, feature) in {**plain, **columns}.items()}
    features |= {name: {"dtype": "video", "shape": [32, 32, 3], "names": None} for name in videos or {}}
    content = {
        "codebase_version": "v3.0",
        "fps": fps,
        "total_episodes": len(lengths),
        "total_frames": sum(lengths),
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": features,
        **info,
    }
    (root / "meta/info.json").write_text(json.dumps(content), encoding="utf-8")
    return root


def video_path(root: Path) -> Path:
    return root / f"videos/{CAMERA}/chunk-000/file-000.mp4"


def with_column(root: Path, array: pa.Array, dtype: str, shape: Sequence[int] = (1,)) -> LeRobotDataset:
    return LeRobotDataset(write_v3(root, {"extra": (array, {"dtype": dtype, "shape": list(shape)})}))


# Column types


@pytest.mark.parametrize(
    ("array", "dtype", "wanted"),
    [
        (pa.array([i % 3 == 0 for i in range(12)]), "bool", [i % 3 == 0 for i in range(12)]),
        (
            pa.array([f"word {i % 2}" for i in range(12)]).dictionary_encode(),
            "string",
            [f"word {i % 2}" for i in range(12)],
        ),
        (pa.array([f"word {i}" for i in range(12)], pa.large_string()), "string", [f"word {i}" for i in range(12)]),
        (pa.array([bytes([i]) for i in range(12)]), "binary", [bytes([i]) for i in range(12)]),
        (pa.array([Decimal(i) for i in range(12)]), "decimal", [Decimal(i) for i in range(12)]),
        (pa.array([{"a": i} for i in range(12)]), "dict", [{"a": i} for i in range(12)]),
        (
            pa.array([datetime(2025, 1, 1 + i, tzinfo=UTC) for i in range(12)], pa.timestamp("us", "UTC")),
            "timestamp",
            [np.datetime64(f"2025-01-{1 + i:02d}", "us") for i in range(12)],
        ),
    ],
    ids=["bool", "dictionary", "large text", "bytes", "decimal", "record", "time"],
)
def test_columns_of_any_type_are_read_as_stored(tmp_path: Path, array: pa.Array, dtype: str, wanted: list) -> None:
    dataset = with_column(tmp_path, array, dtype)
    assert (
        dataset.columns(["extra"])["extra"].tolist()
        == np.array(wanted, dtype="O" if dtype != "timestamp" else None).tolist()
    )
    assert len(dataset.row(5)) == 7
    assert find_bad_episodes(dataset, list(dataset.features)) == {}


def test_bool_vectors(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(2, size=(12, 3)).astype(bool)
    dataset = with_column(tmp_path, pa.array(values.tolist(), pa.list_(pa.bool_(), 3)), "bool", (3,))
    read = dataset.columns(["extra"])["extra"]
    assert read.dtype == bool
    np.testing.assert_array_equal(read, values)


def test_a_column_of_nothing_is_named(tmp_path: Path) -> None:
    dataset = with_column(tmp_path, pa.nulls(12), "null")
    with pytest.raises(DatasetError, match=r"episode 0, frame 0: column 'extra' has 12 empty values"):
        dataset.columns(["extra"])


def test_a_text_column_named_task_does_not_replace_the_instruction(tmp_path: Path) -> None:
    """As LeRobot reads it: the instruction is the one that `task_index` points to. A copy keeps the column."""
    texts = pa.array([f"step {i}" for i in range(12)])
    root = write_v3(tmp_path / "set", {"task": (texts, {"dtype": "string", "shape": [1]})})
    dataset = LeRobotDataset(root)
    assert dataset.row(3)["task"] == "a task"
    assert dataset.columns(["task"])["task"][3] == "step 3"
    copy_dataset(root, tmp_path / "copy")
    assert LeRobotDataset(tmp_path / "copy").columns(["task"])["task"].tolist() == texts.to_pylist()
    assert LeRobotDataset(tmp_path / "copy").task(3) == "a task"


def test_columns_that_the_table_of_features_does_not_name_are_left_alone(tmp_path: Path) -> None:
    root = write_v3(tmp_path, {"state": (pa.array(np.arange(12.0)), {"dtype": "float64", "shape": [1]})})
    path = root / "data/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(path).append_column("state.raw", pa.nulls(12)), path)
    np.testing.assert_array_equal(LeRobotDataset(root).columns(["state"])["state"], np.arange(12.0))


def test_without_instructions(tmp_path: Path) -> None:
    root = write_v3(tmp_path, {})
    path = root / "meta/info.json"
    info = json.loads(path.read_text(encoding="utf-8"))
    del info["features"]["task_index"]
    path.write_text(json.dumps(info), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"column 'task_index'.*Did you mean 'index'"):
        LeRobotDataset(root).row(0)


@pytest.mark.parametrize("names", [None, ["x"] * 2, {"motors": ["shoulder", "elbow"]}])
def test_names_of_elements_of_every_form_are_read_and_copied(tmp_path: Path, names: Any) -> None:
    array = pa.array(np.zeros((12, 2)).tolist(), pa.list_(pa.float64()))
    root = write_v3(tmp_path / "set", {"state": (array, {"dtype": "float64", "shape": [2], "names": names})})
    assert LeRobotDataset(root).features["state"].names == names
    copy_dataset(root, tmp_path / "copy")
    assert LeRobotDataset(tmp_path / "copy").features["state"].names == names


# Pictures in parquet


def camera(kind: str, root: Path) -> pa.Array:
    """A camera's column, stored one way or another."""
    arrays = [picture(e, f) for e, n in enumerate(LENGTHS) for f in range(n)]
    paths = [f"images/{CAMERA}/frame_{i:06d}.png" for i in range(len(arrays))]
    if "path" in kind:
        for path, array in zip(paths, arrays, strict=True):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(png(array))
    encoded = [png(array) for array in arrays]
    both = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return {
        "bytes and path": lambda: pa.array([{"bytes": b, "path": "x.png"} for b in encoded], both),
        "path in struct": lambda: pa.array([{"bytes": None, "path": p} for p in paths], both),
        "struct of path": lambda: pa.array([{"path": p} for p in paths]),
        "struct of bytes": lambda: pa.array([{"bytes": b} for b in encoded], pa.struct([("bytes", pa.large_binary())])),
        "path alone": lambda: pa.array(paths),
        "bytes alone": lambda: pa.array(encoded),
        "nothing": lambda: pa.array([{"bytes": None, "path": None}] * len(arrays), both),
        "pixels": lambda: pa.array([a.tolist() for a in arrays]),
    }[kind]()


@pytest.mark.parametrize(
    "kind", ["bytes and path", "path in struct", "struct of path", "struct of bytes", "path alone", "bytes alone"]
)
def test_pictures_however_they_are_stored(tmp_path: Path, kind: str) -> None:
    feature = {"dtype": "image", "shape": [3, 32, 32], "names": ["channels", "height", "width"]}
    dataset = LeRobotDataset(write_v3(tmp_path, {CAMERA: (camera(kind, tmp_path), feature)}))
    for row in (0, 5, 11):
        episode, frame = dataset.locate(row)
        np.testing.assert_array_equal(dataset.row(row)[CAMERA], picture(episode.index, frame))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("nothing", "holds no image there, neither bytes nor a path"),
        ("pixels", r"the column is of type list<.*images are encoded files"),
        ("missing", "the file has no such column"),
    ],
)
def test_pictures_that_are_none_are_refused(tmp_path: Path, kind: str, words: str) -> None:
    feature = {"dtype": "image", "shape": [32, 32, 3], "names": None}
    array = camera("nothing" if kind == "missing" else kind, tmp_path)
    root = write_v3(tmp_path, {CAMERA: (array, feature)})
    if kind == "missing":
        path = root / "data/chunk-000/file-000.parquet"
        pq.write_table(pq.read_table(path).drop_columns([CAMERA]), path)
    with pytest.raises(DatasetError, match=rf"Episode 1, frame 1, '{CAMERA}'.*{words}"):
        LeRobotDataset(root).row(5)


# Episodes in files


@pytest.mark.parametrize("file_of", [(0, 1, 1), (0, 1, 0), (1, 0, 1)])
def test_episodes_in_several_files(tmp_path: Path, file_of: tuple[int, ...]) -> None:
    """Also where episodes take turns between files: a row's values are those of its episode."""
    feature = {"dtype": "image", "shape": [32, 32, 3], "names": None}
    values = pa.array(np.arange(12.0))
    columns = {
        "state": (values, {"dtype": "float64", "shape": [1]}),
        CAMERA: (camera("bytes and path", tmp_path), feature),
    }
    dataset = LeRobotDataset(write_v3(tmp_path, columns, file_of=file_of))
    np.testing.assert_array_equal(dataset.columns(["state"])["state"], np.arange(12.0))
    for row in range(12):
        episode, frame = dataset.locate(row)
        np.testing.assert_array_equal(dataset.row(row)[CAMERA], picture(episode.index, frame))
    assert find_bad_episodes(dataset, ["state", CAMERA], decode=True) == {}


@pytest.mark.parametrize("splits", [None, {}, {"train": "0:3"}, {"train": "0:2", "test": "2:3"}])
def test_splits_are_not_ours(tmp_path: Path, splits: Any) -> None:
    """Which episodes are held out is the training run's to say."""
    assert len(LeRobotDataset(write_v3(tmp_path, {}, splits=splits)).episodes) == 3


@pytest.mark.parametrize("fps", [20.0, 29.97, 12.5])
def test_rates_that_are_no_whole_numbers(tmp_path: Path, fps: float) -> None:
    lengths = (40, 30)
    ends = np.cumsum([0, *lengths]) / fps
    parts = {CAMERA: list(itertools.pairwise(ends.tolist()))}
    root = write_v3(tmp_path, {}, lengths=lengths, fps=fps, videos=parts)
    grey = [np.full((32, 32, 3), 20 + 3 * i, np.uint8) for i in range(70)]
    encode(video_path(root), grey, rate=Fraction(fps).limit_denominator(1001))
    dataset = LeRobotDataset(root)
    for row in np.random.default_rng(0).permutation(70).tolist():
        assert dataset.row(row)[CAMERA].mean() == pytest.approx(20 + 3 * row, abs=1.4), row
    assert find_bad_episodes(dataset, [CAMERA]) == {}
    copy_dataset(root, tmp_path / "copy", storage=Storage(images="video", codec="h264"))
    copy = LeRobotDataset(tmp_path / "copy")
    assert copy.fps == fps
    assert find_bad_episodes(copy, [CAMERA]) == {}
    assert copy.row(69)[CAMERA].mean() == pytest.approx(dataset.row(69)[CAMERA].mean(), abs=2)


# Videos


def shared_video(root: Path, **changes: Any) -> Path:
    """Three episodes in one mp4."""
    ends = (np.cumsum([0, *LENGTHS]) / FPS).tolist()
    write_v3(root, {}, **{"videos": {CAMERA: list(itertools.pairwise(ends))}, **changes})
    encode(video_path(root), [picture(e, f) for e, n in enumerate(LENGTHS) for f in range(n)])
    return root


def assert_every_frame(dataset: LeRobotDataset) -> None:
    for row in np.random.default_rng(0).permutation(len(dataset)).tolist():
        episode, frame = dataset.locate(row)
        assert dataset.row(row)[CAMERA].mean() == pytest.approx(picture(episode.index, frame).mean(), abs=3), row
    assert find_bad_episodes(dataset, [CAMERA], decode=True) == {}


@pytest.mark.parametrize("options", [{}, {"use_editlist": "0"}], ids=["edit list", "none"])
@pytest.mark.parametrize("first", [0, 100])
def test_videos_with_pictures_out_of_order_that_begin_late(tmp_path: Path, first: int, options: dict) -> None:
    root = shared_video(tmp_path)
    encode(
        video_path(root), [picture(e, f) for e, n in enumerate(LENGTHS) for f in range(n)], first=first, options=options
    )
    assert_every_frame(LeRobotDataset(root))


def two_streams(path: Path, *, cover: bool) -> None:
    """The camera's frames beside sound and a second stream of pictures, which a cover declares itself to be."""
    with av.open(str(path), "w") as container:
        other: Any = container.add_stream("mjpeg" if cover else "libx264", rate=FPS)
        other.height, other.width, other.pix_fmt = 16, 16, "yuvj420p" if cover else "yuv420p"
        if cover:
            other.disposition = Disposition.attached_pic
        stream: Any = container.add_stream("libx264", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        sound: Any = container.add_stream("aac", rate=16000)
        shown = [picture(e, f) for e, n in enumerate(LENGTHS) for f in range(n)]
        for number, array in enumerate(shown):
            for target, content in (
                (stream, array),
                *([] if cover and number else [(other, np.full((16, 16, 3), 250, np.uint8))]),
            ):
                frame = av.VideoFrame.from_ndarray(content)
                frame.pts = number
                container.mux(target.encode(frame))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        silence.sample_rate, silence.pts = 16000, 0
        container.mux(sound.encode(silence))
        for target in (stream, other, sound):
            container.mux(target.encode(None))


def test_sound_and_a_cover_picture_are_passed_over(tmp_path: Path) -> None:
    root = shared_video(tmp_path)
    two_streams(video_path(root), cover=True)
    assert_every_frame(LeRobotDataset(root))


def test_two_videos_in_one_file_are_refused(tmp_path: Path) -> None:
    root = shared_video(tmp_path)
    two_streams(video_path(root), cover=False)
    with pytest.raises(DatasetError, match=r"2 video streams \['16 x 16', '32 x 32'\].*-map 0:v:0"):
        LeRobotDataset(root).row(0)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    root = shared_video(tmp_path)
    with av.open(str(video_path(root)), "w") as container:
        sound: Any = container.add_stream("aac", rate=16000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        silence.sample_rate, silence.pts = 16000, 0
        container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    with pytest.raises(DatasetError, match="cannot be opened as a video: it has 0 video streams"):
        LeRobotDataset(root).row(0)


def test_times_that_do_not_begin_with_the_episode_never_show_another_ones_frames(tmp_path: Path) -> None:
    """Times of a whole recording instead of the episode's: LeRobot would read on into the next episode."""
    times = np.concatenate([np.arange(n) + s for n, s in zip(LENGTHS, (0, 2, 0), strict=True)]) / FPS
    root = shared_video(tmp_path)
    path = root / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    pq.write_table(
        table.set_column(table.column_names.index("timestamp"), "timestamp", pa.array(times.astype(np.float32))), path
    )
    dataset = LeRobotDataset(root)
    assert dataset.row(4)[CAMERA].mean() == pytest.approx(picture(1, 2).mean(), abs=3)  # as LeRobot reads it
    with pytest.raises(
        DatasetError, match=r"Episode 1, frame 2.*its time is 0\.200 s.*lasts 0\.150 s.*another episode's"
    ):
        dataset.row(6)
    bad = find_bad_episodes(dataset, [CAMERA])
    assert list(bad) == [1]
    assert "is the episode's for a shorter time than it has frames: until 0.350 s" in bad[1]


# What the tables say


@pytest.mark.parametrize("value", [0, -1, "1000", 2.5, None, True, ...])
def test_chunks_size_is_held_against_what_it_must_be(tmp_path: Path, value: Any) -> None:
    with DatasetWriter(
        tmp_path / "set", fps=FPS, robot_type=None, features={"a": {"dtype": "float32", "shape": (1,)}}, version="v2.1"
    ) as writer:
        writer.add_episode({"a": np.zeros(3, np.float32)}, task="a task")
    path = tmp_path / "set/meta/info.json"
    info = json.loads(path.read_text(encoding="utf-8"))
    info.pop("chunks_size")
    path.write_text(json.dumps(info if value is ... else {**info, "chunks_size": value}), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"info\.json: `chunks_size`.*must be a whole number from 1 on"):
        LeRobotDataset(tmp_path / "set")
    flat = {"data_path": "data/chunk-000/episode_{episode_index:06d}.parquet"}  # needs none
    path.write_text(json.dumps({**info, **flat, "video_path": None}), encoding="utf-8")
    assert len(LeRobotDataset(tmp_path / "set")) == 3


def edit_line(root: Path, name: str, **changes: Any) -> None:
    path = root / "meta" / name
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text(
        "".join(json.dumps({**line, **changes} if n == 0 else line) + "\n" for n, line in enumerate(lines)),
        encoding="utf-8",
    )


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("episodes.jsonl", {"length": "3"}, r"row 0: `length` must be a whole number from 1 on; got '3'"),
        ("episodes.jsonl", {"length": 0}, r"`length` must be a whole number from 1 on; got 0"),
        ("episodes.jsonl", {"episode_index": None}, r"`episode_index` must be a whole number"),
        ("tasks.jsonl", {"task": 7}, r"task 0 must be one text"),
        ("tasks.jsonl", {"task_index": "a"}, r"`task_index` must be a whole number"),
    ],
)
def test_tables_of_version_2_name_the_field(tmp_path: Path, name: str, changes: dict, words: str) -> None:
    root = tmp_path / "set"
    features = {"a": {"dtype": "float32", "shape": (1,)}}
    with DatasetWriter(root, fps=FPS, robot_type=None, features=features, version="v2.1") as writer:
        writer.add_episode({"a": np.zeros(3, np.float32)}, task="a task")
    edit_line(root, "episodes.jsonl", tasks="a task")  # plain text instead of a list: one instruction
    assert LeRobotDataset(root).episodes[0].tasks == ("a task",)
    edit_line(root, name, **changes)
    with pytest.raises(DatasetError, match=words):
        LeRobotDataset(root)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("data/file_index", None, "`data/file_index` must be a whole number"),
        ("length", 2.5, "`length` must be a whole number from 1 on"),
        (f"videos/{CAMERA}/from_timestamp", None, "from_timestamp` must be seconds; got None"),
        (f"videos/{CAMERA}/from_timestamp", float("nan"), "from_timestamp` must be seconds; got nan"),
    ],
)
def test_tables_of_version_3_name_the_field(tmp_path: Path, column: str, value: Any, words: str) -> None:
    root = shared_video(tmp_path)
    path = root / "meta/episodes/chunk-000/file-000.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[1][column] = value
    pq.write_table(pa.Table.from_pylist(rows), path)
    with pytest.raises(DatasetError, match=words):
        LeRobotDataset(root)


@pytest.mark.parametrize(
    "spec", [{"dtype": "float32", "shape": 8}, {"dtype": "float32", "shape": ["8"]}, {"dtype": "image", "info": 3}]
)
def test_features_name_the_field(tmp_path: Path, spec: dict) -> None:
    root = write_v3(tmp_path, {})
    path = root / "meta/info.json"
    info = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**info, "features": {**info["features"], "state": spec}}), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"info\.json: `features\.state\.(shape|info)` must be"):
        LeRobotDataset(root)


def test_a_copy_of_a_dataset_with_a_damaged_file_keeps_the_others(tmp_path: Path) -> None:
    root = tmp_path / "set"
    features = {"a": {"dtype": "float32", "shape": (1,)}}
    with DatasetWriter(root, fps=FPS, robot_type=None, features=features, version="v2.1") as writer:
        for episode in range(3):
            writer.add_episode({"a": np.full(3, episode, np.float32)}, task="a task")
    (root / "data/chunk-000/episode_000001.parquet").write_bytes(b"")
    report = copy_dataset(root, tmp_path / "copy", storage=Storage(skip_bad_episodes=True))
    assert list(report.skipped) == ["episode 1"]
    assert "cannot be read as parquet" in report.skipped["episode 1"]
    assert LeRobotDataset(tmp_path / "copy").columns(["a"])["a"].tolist() == [0, 0, 0, 2, 2, 2]
