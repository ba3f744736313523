"""Videos against rows in both directions, sizes of pictures, EXIF and rotation for display, clocks."""

from __future__ import annotations

import io
import json
from pathlib import Path
import shutil
import struct

import numpy as np
from PIL import Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inspire_fast.data.chunks import ChunkSource
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.check import check_numbers, find_bad_episodes
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.writer import DatasetWriter
from inspire_fast.data.video import VideoEncoder
from inspire_fast.robots import ROBOTS
from tests.data.synthetic import FEATURES, episode_columns, smooth_image

LENGTHS = (7, 9, 8, 6)
ALL = list(FEATURES)


def write(root: Path, storage: str, version: str) -> Path:
    with DatasetWriter(
        root, fps=20, robot_type="panda", features=FEATURES, image_storage=storage, video_codec="h264", version=version
    ) as writer:  # type: ignore[arg-type]
        for episode, length in enumerate(LENGTHS):
            writer.add_episode(episode_columns(episode, length), task="a task")
    return root


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    folder = tmp_path_factory.mktemp("originals")
    kinds = (("video", "v2.1"), ("video", "v3.0"), ("image", "v3.0"))
    return {kind: write(folder / "-".join(kind), *kind) for kind in kinds}


def encode(path: Path, images: list[np.ndarray]) -> None:
    path.unlink(missing_ok=True)
    video = VideoEncoder(path, fps=20, height=images[0].shape[0], width=images[0].shape[1], codec="h264")
    for image in images:
        video.add(image)
    video.close()


@pytest.mark.parametrize(("before", "after"), [(0, 3), (3, 0), (1, 0), (0, 1)])
def test_a_video_with_frames_that_have_no_rows(originals, tmp_path: Path, before: int, after: int) -> None:
    """Frames of a discarded take behind an episode's own are harmless, in front of them every picture is wrong."""
    root = shutil.copytree(originals["video", "v2.1"], tmp_path / "set")
    path = root / "videos/chunk-000/image/episode_000001.mp4"
    encode(path, [smooth_image(i) for i in range(before + LENGTHS[1] + after)])
    bad = find_bad_episodes(LeRobotDataset(root), ALL)
    assert list(bad) == [1]
    assert f"image/episode_000001.mp4 has {before + 9 + after} frames and the episode 9 rows" in bad[1]


def shift(root: Path, *, starts: list[float], ends: list[float]) -> None:
    """Adds parts of a frame to the episodes' `from_timestamp` and `to_timestamp`."""
    path = next((root / "meta" / "episodes").rglob("*.parquet"))
    table = pq.read_table(path)
    for end, frames in (("from", starts), ("to", ends)):
        name = f"videos/image/{end}_timestamp"
        values = table[name].to_numpy() + np.array(frames) / 20
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    pq.write_table(table, path)


@pytest.mark.parametrize(
    ("starts", "ends", "expected"),
    [
        ([0, 0.3, -0.3, 0], [0.3, -0.3, 0, 0], {}),
        ([0, 0.45, 0, 0], [0, 0.45, 0, 0], {1: "0.45 of a frame after that row's frame"}),
        ([0, 1, 0, 0], [0, 1, 0, 0], {1: "1.00 of a frame after"}),  # as many frames as rows: no other is an episode's
        ([0, 0, 0, 1], [0, 0, 0, 1], {3: "is shorter than its index says"}),
        ([0, 0, 0, 0], [0, 1, 0, 0], {1: "for a longer time than it has frames: 0.500 s for 9 rows"}),
        ([0, 0, 0, 0], [0, 0, -2, 0], {2: "for a shorter time than it has frames"}),
    ],
)
def test_parts_of_a_shared_video(originals, tmp_path: Path, starts, ends, expected: dict[int, str]) -> None:
    root = shutil.copytree(originals["video", "v3.0"], tmp_path / "set")
    shift(root, starts=starts, ends=ends)
    bad = find_bad_episodes(LeRobotDataset(root), ALL)
    assert list(bad) == list(expected)
    assert all(text in bad[episode] for episode, text in expected.items())


def test_parts_that_overlap(originals, tmp_path: Path) -> None:
    """A longer video, of which the table says which frames are an episode's: no frame may be two episodes'."""
    root = shutil.copytree(originals["video", "v3.0"], tmp_path / "set")
    encode(next(root.rglob("videos/image/*/*.mp4")), [smooth_image(i) for i in range(sum(LENGTHS) + 5)])
    shift(root, starts=[5, 5, 3, 5], ends=[5, 5, 3, 5])
    bad = find_bad_episodes(LeRobotDataset(root), ALL)
    assert list(bad) == [2]
    assert "has 2 frames that belong to an earlier episode as well" in bad[2]


def test_a_clock_that_runs_at_another_rate(originals) -> None:
    """Jitter of two fifths of a frame is no defect; seventeen frames per second are not the dataset's twenty."""
    dataset = LeRobotDataset(originals["image", "v3.0"])
    steps = np.arange(40)
    for times in (steps / 20 + 0.01 * np.sin(7 * steps), 1.75e9 + steps / 20, steps / 20.4):
        check_numbers(dataset, dataset.episodes[0], {"timestamp": times})
    with pytest.raises(
        DatasetError, match=r"40 frames take 2\.294 s, 17 frames per second; the dataset's 20 mean 1\.950"
    ):
        check_numbers(dataset, dataset.episodes[0], {"timestamp": steps / 17})


def replace_images(root: Path, data: dict[int, bytes]) -> Path:
    """Puts other files in the place of some rows' images."""
    path = next((root / "data").rglob("*.parquet"))
    table = pq.read_table(path)
    images = table["image"].to_pylist()
    for row, file in data.items():
        images[row]["bytes"] = file
    place = table.column_names.index("image")
    pq.write_table(table.set_column(place, "image", pa.array(images, table.schema.field("image").type)), path)
    return root


def encoded(image: np.ndarray, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def test_pictures_of_another_size_than_declared(originals, tmp_path: Path) -> None:
    root = shutil.copytree(originals["image", "v3.0"], tmp_path / "set")
    replace_images(root, {7 + 4: encoded(np.zeros((32, 48, 3), np.uint8))})
    dataset = LeRobotDataset(root)
    bad = find_bad_episodes(dataset, ALL, decode=True)
    assert list(bad) == [1]
    assert "episode 1, frame 4: 'image' is 32 x 48; meta/info.json declares 32 x 32 (h x w)" in bad[1]
    source = ChunkSource(dataset, None, robot=ROBOTS["libero"], horizon=3)
    source[10]
    with pytest.raises(DatasetError, match=r"episode 1, frame 4: 'image' is 32 x 48"):
        source[11]


def test_videos_of_another_size_are_found_without_decoding(originals, tmp_path: Path) -> None:
    root = shutil.copytree(originals["video", "v2.1"], tmp_path / "set")
    encode(root / "videos/chunk-000/image/episode_000001.mp4", [np.zeros((64, 32, 3), np.uint8)] * 9)
    bad = find_bad_episodes(LeRobotDataset(root), ALL)
    assert list(bad) == [1]
    assert "has pictures of 64 x 32; meta/info.json declares 32 x 32 (h x w)" in bad[1]


def test_images_are_turned_as_their_exif_says(originals, tmp_path: Path) -> None:
    """`datasets`, through which LeRobot reads images, does the same."""
    upright = np.zeros((32, 32, 3), np.uint8)
    upright[:8], upright[:, :4, 0] = 200, 99
    # From the picture as it is shown to the picture as it is stored, for each value of the tag.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright),
        8: np.rot90(upright, -1),
        7: np.rot90(upright.swapaxes(0, 1), 2),
    }
    data = {}
    for orientation, image in stored.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        data[orientation] = encoded(np.ascontiguousarray(image), exif=exif)
    dataset = LeRobotDataset(replace_images(shutil.copytree(originals["image", "v3.0"], tmp_path / "set"), data))
    for orientation in stored:
        np.testing.assert_array_equal(dataset.row(orientation, ["image"])["image"], upright, err_msg=str(orientation))


def test_videos_are_turned_as_they_say(originals, tmp_path: Path) -> None:
    """A phone's video lies on its side and says by how much it is to be turned; LeRobot's decoder turns it."""
    root = shutil.copytree(originals["video", "v2.1"], tmp_path / "set")
    upright = np.zeros((64, 32, 3), np.uint8)
    upright[:20], upright[:, :8] = 255, (200, 30, 30)
    for quarters, matrix in ((0, (1, 0, 0, 1)), (1, (0, 1, -1, 0)), (2, (-1, 0, 0, -1)), (3, (0, -1, 1, 0))):
        path = root / f"videos/chunk-000/image/episode_{quarters:06d}.mp4"
        encode(path, [np.ascontiguousarray(np.rot90(upright, quarters))] * LENGTHS[quarters])
        data = bytearray(path.read_bytes())
        at = data.index(b"tkhd") + 44
        a, b, c, d = (value << 16 for value in matrix)
        data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
        path.write_bytes(data)
    info = json.loads((root / "meta/info.json").read_text(encoding="utf-8"))
    info["features"]["image"]["shape"] = [64, 32, 3]
    (root / "meta/info.json").write_text(json.dumps(info), encoding="utf-8")
    dataset = LeRobotDataset(root)
    for episode in dataset.episodes:
        seen = dataset.row(episode.start + 2, ["image"])["image"]
        assert seen.shape == upright.shape, episode.index
        assert np.abs(seen.astype(int) - upright).mean() < 12, episode.index


def rewrite(root: Path, column: str, values: list[object]) -> None:
    path = next((root / "data").rglob("*.parquet"))
    table = pq.read_table(path)
    at = table.column_names.index(column)
    pq.write_table(table.set_column(at, column, pa.array(values, table.schema.field(column).type)), path)


def test_rows_out_of_order_are_found(originals, tmp_path: Path) -> None:
    root = shutil.copytree(originals["image", "v3.0"], tmp_path / "set")
    numbers = [list(range(length)) for length in LENGTHS]
    numbers[1].reverse()
    numbers[2][5:] = range(6, 9)
    numbers[3] = list(range(10, 16))  # of a longer episode, whose first rows were cut off
    rewrite(root, "frame_index", [number for episode in numbers for number in episode])
    bad = find_bad_episodes(LeRobotDataset(root), ALL)
    assert list(bad) == [1, 2]
    assert "frame 0: frame_index goes from 8 to 7: the episode's rows are out of order" in bad[1]
    assert "frame 4: frame_index goes from 4 to 6" in bad[2]
    with pytest.raises(DatasetError, match="frame_index goes from 8 to 7"):
        ChunkSource(LeRobotDataset(root), None, robot=ROBOTS["libero"], horizon=2)


def test_depth_is_no_colour(originals, tmp_path: Path) -> None:
    root = shutil.copytree(originals["image", "v3.0"], tmp_path / "set")
    data = io.BytesIO()
    Image.fromarray(np.full((24, 32), 900, np.uint16)).save(data, "PNG")
    images = pq.read_table(next((root / "data").rglob("*.parquet")))["image"].to_pylist()
    images[3]["bytes"] = data.getvalue()
    rewrite(root, "image", images)
    with pytest.raises(DatasetError, match=r"frame 3, 'image'.* more than 8 bits \(Pillow's mode I;16\); declare it"):
        LeRobotDataset(root).row(3)
