"""Varieties of datasets: column types, cameras, places of episodes in files; v2.1 is written and read, too."""

from __future__ import annotations

import io
import json
from pathlib import Path
import shutil

import numpy as np
from PIL import Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inspire_fast.data.converters.base import REPORT_FILE, Storage
from inspire_fast.data.converters.lerobot import copy_dataset
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.facts import FactsTable
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.frames import depth_m
from inspire_fast.data.lerobot.writer import DatasetWriter
from tests.data.synthetic import FEATURES, GOLDEN, episode_columns, label, smooth_image, write_dataset

LENGTHS = (7, 5, 6)


def edit_info(root: Path, **changes) -> dict:
    path = root / "meta" / "info.json"
    info = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    path.write_text(json.dumps(info), encoding="utf-8")
    return info


def add_column(root: Path, name: str, values: pa.Array, feature: dict) -> LeRobotDataset:
    """Puts another column into the golden image dataset."""
    shutil.copytree(GOLDEN / "lerobot_v3" / "image", root)
    path = root / "data" / "chunk-000" / "file-000.parquet"
    pq.write_table(pq.read_table(path).append_column(name, values), path)
    info = json.loads((root / "meta" / "info.json").read_text(encoding="utf-8"))
    edit_info(root, features={**info["features"], name: feature})
    return LeRobotDataset(root)


@pytest.mark.parametrize(
    ("dtype", "shape", "kind"),
    [
        ("float64", (3,), pa.list_(pa.float64())),
        ("float32", (1,), pa.list_(pa.float32(), 1)),
        ("bool", (1,), pa.bool_()),
        ("int64", (2,), pa.list_(pa.int64(), 2)),
        ("float32", (2, 3), pa.list_(pa.list_(pa.float32()))),
        ("float16", (4,), pa.list_(pa.float16(), 4)),
        ("string", (1,), pa.string()),
    ],
)
def test_column_types(tmp_path: Path, dtype: str, shape, kind: pa.DataType) -> None:
    rng = np.random.default_rng(0)
    if dtype == "string":
        values = np.array([f"text {i}" for i in range(36)], object)
    else:
        values = (rng.standard_normal((36, *shape)) * 3).astype(dtype)
    plain = values if shape != (1,) or not pa.types.is_nested(kind) else values.reshape(36, 1)
    stored = pa.array(plain.reshape(36).tolist() if not pa.types.is_nested(kind) else plain.tolist(), kind)
    dataset = add_column(tmp_path / "set", "extra", stored, {"dtype": dtype, "shape": list(shape), "names": None})
    read = dataset.columns(["extra"])["extra"]
    assert read.shape == (36, *(() if shape == (1,) else shape))
    np.testing.assert_array_equal(read, values.reshape(read.shape))
    np.testing.assert_array_equal(dataset.row(17)["extra"], values.reshape(read.shape)[17])


def test_declared_shape_is_held_against_the_file(tmp_path: Path) -> None:
    values = pa.array(np.zeros((36, 5)).tolist(), pa.list_(pa.float64()))
    dataset = add_column(tmp_path / "set", "extra", values, {"dtype": "float64", "shape": [6], "names": None})
    with pytest.raises(
        DatasetError, match=r"file-000.parquet.*column 'extra' holds values of shape \(5,\).*declares \(6,\)"
    ):
        dataset.columns(["extra"])


def test_empty_value_names_episode_and_frame(tmp_path: Path) -> None:
    values: list = [0.0] * 36
    values[29] = None
    dataset = add_column(tmp_path / "set", "extra", pa.array(values), {"dtype": "float64", "shape": [1], "names": None})
    with pytest.raises(DatasetError, match=r"file-000.parquet.*episode 2, frame 5: column 'extra' has 1 empty values"):
        dataset.columns(["extra"])


def test_annotations_are_objects(tmp_path: Path) -> None:
    kind = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    rows = [[{"role": "user", "content": str(i)}] if i % 2 else None for i in range(36)]
    feature = {"dtype": "language", "shape": [1], "names": None}
    dataset = add_column(tmp_path / "set", "language_events", pa.array(rows, kind), feature)
    assert dataset.row(3)["language_events"] == [{"role": "user", "content": "3"}]
    assert dataset.row(4)["language_events"] is None


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
@pytest.mark.parametrize(
    ("values", "kind", "feature"),
    [
        (
            [[{"role": "user", "content": str(i), "timestamp": i / 10}] if i % 2 else None for i in range(36)],
            pa.list_(pa.struct([("role", pa.string()), ("content", pa.string()), ("timestamp", pa.float64())])),
            {"dtype": "language", "shape": [1], "names": None},
        ),
        (  # no event in any frame: the type is that of the source, not guessed from the values
            [[] for _ in range(36)],
            pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])),
            {"dtype": "language", "shape": [1], "names": None},
        ),
        ([[]] * 36, pa.list_(pa.float32()), {"dtype": "float32", "shape": [0], "names": None}),
    ],
    ids=["annotations", "no annotations", "width 0"],
)
def test_copies_keep_every_column(tmp_path: Path, version, values, kind: pa.DataType, feature: dict) -> None:
    dataset = add_column(tmp_path / "set", "extra", pa.array(values, kind), feature)
    copy_dataset(dataset.root, tmp_path / "copy", storage=Storage(version=version))
    copy = LeRobotDataset(tmp_path / "copy")
    assert (copy.feature("extra").dtype, copy.feature("extra").shape) == (feature["dtype"], tuple(feature["shape"]))
    for row in (0, 3, 35):
        assert np.array_equal(copy.row(row, ["extra"])["extra"], dataset.row(row, ["extra"])["extra"])
    stored = pq.read_schema(copy.episode(0).data_path)
    assert stored.field("extra").type == kind
    assert "extra" in json.loads(stored.metadata[b"huggingface"])["info"]["features"]


@pytest.mark.parametrize(("encoding", "dtype"), [("png", np.uint16), ("tiff", np.uint16), ("tiff", np.float32)])
def test_depth_maps_in_images(tmp_path: Path, encoding: str, dtype) -> None:
    """16 bits and metres stay what they are; as colours they would be clipped."""
    maps = (np.random.default_rng(0).random((36, 8, 10)) * 5000).astype(dtype)

    def encode(picture: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format=encoding)
        return buffer.getvalue()

    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    values = pa.array([{"bytes": encode(m), "path": None} for m in maps], kind)
    feature = {"dtype": "image", "shape": [8, 10, 1], "names": ["height", "width", "channels"]}
    dataset = add_column(tmp_path / "set", "depth", values, feature)
    read = dataset.row(20)["depth"]
    assert read.dtype == dtype
    np.testing.assert_array_equal(read[..., 0], maps[20])


def test_depth_codes_of_videos() -> None:
    """LeRobot's quantisation (0.6): 0 is the nearest, 4095 the farthest, logarithmic with a shift unless it says so."""
    codes = np.array([[0, 4095, 2048]], np.uint16)
    np.testing.assert_allclose(depth_m(codes, {})[0, :2], [0.01, 10.0], rtol=1e-5)
    linear = {"video.use_log": False, "video.depth_min": 1.0, "video.depth_max": 3.0}
    np.testing.assert_allclose(depth_m(codes, linear), [[1.0, 3.0, 1.0 + 2.0 * 2048 / 4095]], rtol=1e-6)
    inverse = np.log((depth_m(codes, {})[0, 2] + 3.5) / 3.51) / np.log(13.5 / 3.51) * 4095
    assert inverse == pytest.approx(2048, abs=0.1)


def test_grey_and_transparent_pictures_become_rgb(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "lerobot_v3" / "image", tmp_path / "set")
    path = tmp_path / "set" / "data" / "chunk-000" / "file-000.parquet"
    table = pq.read_table(path)
    images = table["image"].to_pylist()
    for row, mode in ((0, "L"), (1, "RGBA"), (2, "P")):
        buffer = io.BytesIO()
        picture = Image.open(io.BytesIO(images[row]["bytes"]))
        (picture.quantize() if mode == "P" else picture.convert(mode)).save(buffer, format="PNG")
        images[row]["bytes"] = buffer.getvalue()
    pq.write_table(table.set_column(0, "image", pa.array(images, table.schema.field("image").type)), path)
    dataset = LeRobotDataset(tmp_path / "set")
    for row in range(3):
        assert dataset.row(row)["image"].shape == (64, 64, 3)
        assert abs(dataset.row(row)["image"].astype(int) - 5 * row).max() <= 1


@pytest.mark.parametrize("offset_s", [-0.0225, 0.01, 0.0225])
def test_episodes_that_begin_between_ticks(tmp_path: Path, offset_s: float) -> None:
    """Converters sum up durations of files; every frame must still be found, and no two be taken for one.

    At 20 frames per second up to 0.025 s can be told apart.
    """
    root = write_dataset(tmp_path / "set", (20, 20), storage="video", codec="h264")
    path = root / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
    table = pq.read_table(path)
    for camera in ("image", "wrist_image"):
        name = f"videos/{camera}/from_timestamp"
        values = pa.array([0.0, 1.0 + offset_s])
        table = table.set_column(table.column_names.index(name), name, values)
    pq.write_table(table, path)
    dataset = LeRobotDataset(root)
    for frame in range(20):
        image = dataset.row(20 + frame, ["image"])["image"].astype(float)
        assert np.abs(image - smooth_image(100 + frame)).mean() < 8, frame


def test_episode_tables_in_several_files(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "lerobot_v3" / "video", tmp_path / "set")
    folder = tmp_path / "set" / "meta" / "episodes" / "chunk-000"
    table = pq.read_table(folder / "file-000.parquet")
    pq.write_table(table.slice(0, 2), folder / "file-000.parquet")
    (folder.parent / "chunk-001").mkdir()
    pq.write_table(table.slice(2, 1), folder.parent / "chunk-001" / "file-000.parquet")
    assert [e.length for e in LeRobotDataset(tmp_path / "set").episodes] == [12, 12, 12]


def test_statistics_of_the_dataset_are_not_needed(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "set", (4,), storage="video")
    (root / "meta" / "stats.json").unlink()
    assert LeRobotDataset(root).row(2)["image"].shape == (32, 32, 3)


@pytest.mark.parametrize(("storage", "codec"), [("image", "av1"), ("video", "av1"), ("video", "h264")])
def test_version_2_1(tmp_path: Path, storage, codec) -> None:
    """Layout and tables as LeRobot 0.3 writes them (what it reads is proved in tests/external); values come back."""
    root = tmp_path / "set"
    with DatasetWriter(
        root, fps=20, robot_type="panda", features=FEATURES, image_storage=storage, video_codec=codec, version="v2.1"
    ) as writer:
        for episode, length in enumerate(LENGTHS):
            writer.add_episode(episode_columns(episode, length), task=f"task {episode % 2}")
    names = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    data = {f"data/chunk-000/episode_{e:06d}.parquet" for e in range(3)}
    cameras = ("image", "wrist_image") if storage == "video" else ()
    videos = {f"videos/chunk-000/{camera}/episode_{e:06d}.mp4" for e in range(3) for camera in cameras}
    meta = {f"meta/{name}" for name in ("info.json", "episodes.jsonl", "episodes_stats.jsonl", "tasks.jsonl")}
    assert names == data | videos | meta
    info = json.loads((root / "meta" / "info.json").read_text(encoding="utf-8"))
    assert (info["codebase_version"], info["total_chunks"], info["total_videos"]) == ("v2.1", 1, len(videos))
    lines = (root / "meta" / "episodes_stats.jsonl").read_text(encoding="utf-8").splitlines()
    stats = json.loads(lines[1])
    assert stats["episode_index"] == 1
    assert set(stats["stats"]["state"]) == {"min", "max", "mean", "std", "count"}
    np.testing.assert_allclose(stats["stats"]["state"]["mean"], episode_columns(1, 5)["state"].astype(float).mean(0))
    assert np.shape(stats["stats"]["image"]["mean"]) == (3, 1, 1)
    described = json.loads((pq.read_schema(root / min(data)).metadata or {})[b"huggingface"])
    assert described["info"]["features"]["state"]["_type"] == "Sequence", "datasets 3 knows no `List`"

    dataset = LeRobotDataset(root)
    for episode in dataset.episodes:
        written = episode_columns(episode.index, episode.length)
        for frame in range(episode.length):
            row = dataset.row(episode.start + frame)
            assert row["task"] == f"task {episode.index % 2}"
            np.testing.assert_array_equal(row["state"], written["state"][frame])
            difference = np.abs(row["image"].astype(float) - written["image"][frame]).mean()
            assert difference == 0 if storage == "image" else difference < 8


def test_unknown_version(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"version to write 'v2\.0'.*v2\.1"):
        DatasetWriter(tmp_path / "set", fps=20, robot_type=None, features=FEATURES, version="v2.0")


def test_pictures_are_read_in_small_groups(tmp_path: Path) -> None:
    """A sample costs its row group, so that an episode has many; one that stands on several frames stays in one."""
    once, repeated = tmp_path / "once", tmp_path / "repeated"
    for root, every in ((once, 1), (repeated, 3)):
        write_dataset(root, (100,), rendered_every=every)
    sizes = {}
    for root in (once, repeated):
        footer = pq.read_metadata(root / "data" / "chunk-000" / "file-000.parquet")
        sizes[root.name] = [footer.row_group(g).num_rows for g in range(footer.num_row_groups)]
    assert sizes["once"] == [16] * 6 + [4]
    assert sizes["repeated"] == [48, 48, 4]
    dataset = LeRobotDataset(repeated)
    for row in (0, 46, 47, 48, 99):
        np.testing.assert_array_equal(dataset.row(row)["image"], smooth_image(row // 3 * 3))


def test_a_copy_in_another_version_keeps_values_and_labels(tmp_path: Path) -> None:
    source = write_dataset(tmp_path / "source", LENGTHS)
    label(source, LENGTHS)
    report = copy_dataset(source, tmp_path / "copy", storage=Storage(version="v2.1"))
    assert (report.frames, report.skipped, list(report.names)) == (18, {}, ["episode 0", "episode 1", "episode 2"])
    old, new = LeRobotDataset(source), LeRobotDataset(tmp_path / "copy")
    assert new.meta.version == "v2.1"
    for row in range(18):
        left, right = old.row(row), new.row(row)
        assert left.keys() == right.keys()
        for name, value in left.items():
            np.testing.assert_array_equal(value, right[name], err_msg=name)
    facts = [FactsTable.load(root).facts(2, 3) for root in (source, tmp_path / "copy")]
    np.testing.assert_array_equal(facts[0].targets[1].offset_m, facts[1].targets[1].offset_m)


def test_a_copy_leaves_bad_episodes_out_when_told_to(tmp_path: Path) -> None:
    source = write_dataset(tmp_path / "source", LENGTHS, storage="video")
    label(source, LENGTHS)
    path = source / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
    table = pq.read_table(path)
    name = "videos/image/from_timestamp"
    pq.write_table(table.set_column(table.column_names.index(name), name, pa.array([0.0, 9.0, 0.6])), path)
    with pytest.raises(DatasetError, match=r"episode 1: .*shorter than its index says"):
        copy_dataset(source, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    report = copy_dataset(source, tmp_path / "copy", storage=Storage(skip_bad_episodes=True))
    assert list(report.skipped) == ["episode 1"]
    assert "left out: episode 1" in str(report)
    stored = json.loads((tmp_path / "copy" / REPORT_FILE).read_text(encoding="utf-8"))
    assert [row["source"] for row in stored["episodes"]] == ["episode 0", "episode 2"]
    facts = [FactsTable.load(root).facts(e, 3) for root, e in ((source, 2), (tmp_path / "copy", 1))]
    np.testing.assert_array_equal(facts[0].targets[0].offset_m, facts[1].targets[0].offset_m)


@pytest.mark.parametrize(
    ("field", "value"),
    [("fps", 0), ("fps", "20"), ("features", None), ("data_path", "data/{nothing}.parquet"), ("total_frames", 1.5)],
)
def test_info_names_the_field_that_is_wrong(tmp_path: Path, field: str, value) -> None:
    root = write_dataset(tmp_path / "set")
    edit_info(root, **{field: value})
    with pytest.raises(DatasetError, match=rf"info\.json: `{field}` must be"):
        LeRobotDataset(root)
    (root / "meta" / "info.json").write_text("[]", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"info\.json must hold a JSON object"):
        LeRobotDataset(root)


def test_a_copy_takes_recordings_along_and_never_replaces_its_source(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "set")
    (root / "recordings").mkdir()
    (root / "recordings" / "episode_000001.npz").write_bytes(b"states")
    copy_dataset(root, tmp_path / "copy")
    assert (tmp_path / "copy" / "recordings" / "episode_000001.npz").read_bytes() == b"states"
    with pytest.raises(DatasetError, match="needs a folder of its own"):
        copy_dataset(root, root, storage=Storage(overwrite=True))
    with pytest.raises(FileExistsError, match=r"--storage\.overwrite"):
        copy_dataset(root, tmp_path / "copy")
