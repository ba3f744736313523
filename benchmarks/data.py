"""Benchmark of reading samples, compared with a straightforward reader, and of normalisation statistics.

    uv run python benchmarks/data.py [--quick]

Writes datasets to a temporary folder (two 256 px cameras, AV1 video and PNG), then reads random samples by both routes
in turns, one thread each, and takes medians over the rounds. The straightforward reader opens, per sample, the mp4 of
each camera and seeks (video), or reads the episode's rows from parquet as LeRobot lays them out, a row group per
episode (images). The cache is smaller than the data and no sample is read twice, so that nothing is gained by
remembering frames. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
import io
import json
import multiprocessing
from pathlib import Path
import shutil
import statistics
import tempfile
import time

import av
import numpy as np
from PIL import Image
import pyarrow.parquet as pq

from inspire_fast.core.types import Sample
from inspire_fast.data.chunks import ChunkSource
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.writer import DatasetWriter
from inspire_fast.data.loader import Loader, LoaderConfig
from inspire_fast.data.normalization.compute import source_stats
from inspire_fast.robots import ROBOTS

CAMERAS = ("image", "wrist_image")
COLUMNS = [*CAMERAS, "state", "actions"]
FPS = 20


def frames(episode: int, length: int, px: int, camera: int) -> np.ndarray:
    """A block that moves over a smooth background with a little noise, uint8 `[n, px, px, 3]`."""
    rng = np.random.default_rng((episode, camera))
    y, x = np.mgrid[:px, :px] / px
    scene = np.stack([127 + 60 * np.sin(5 * x + 3 * y + c + episode) for c in range(3)], axis=-1)
    scene = (scene + rng.normal(0, 2, scene.shape)).clip(0, 255).astype(np.uint8)
    out = np.repeat(scene[None], length, axis=0)
    for frame in range(length):
        left = (px - px // 6) * frame // length
        out[frame, px // 3 : px // 2, left : left + px // 6] = (255, 40 * camera, 0)
    return out


def write(root: Path, storage: str, episodes: int, length: int, px: int) -> Path:
    """A dataset in the layout of openpi's LIBERO conversion."""
    robot = ROBOTS["libero"]
    features = {
        **{camera: {"dtype": "image", "shape": (px, px, 3)} for camera in CAMERAS},
        "state": {"dtype": "float32", "shape": (robot.state_dim,)},
        "actions": {"dtype": "float32", "shape": (robot.action_dim,)},
    }
    with DatasetWriter(root, fps=FPS, robot_type="panda", features=features, image_storage=storage) as writer:  # type: ignore[arg-type]
        for episode in range(episodes):
            rng = np.random.default_rng(episode)
            numbers = {
                "state": rng.normal(size=(length, robot.state_dim)).astype(np.float32),
                "actions": rng.uniform(-1, 1, (length, robot.action_dim)).astype(np.float32),
            }
            images = {camera: frames(episode, length, px, k) for k, camera in enumerate(CAMERAS)}
            writer.add_episode({**images, **numbers}, task="push the block to the right")
    return root


def as_lerobot_lays_it_out(source: Path, root: Path) -> Path:
    """A copy whose data files have a row group per episode and parquet's default encodings."""
    shutil.copytree(source, root)
    dataset = LeRobotDataset(root)
    for path, episodes in dataset.files().items():
        table = pq.read_table(path)
        with pq.ParquetWriter(path, table.schema) as file:
            for episode in episodes:
                file.write_table(table.slice(episode.file_row, episode.length))
    return root


def plain_image(root: Path) -> Callable[[int], object]:
    """One parquet read per sample: open the file, read the episode's rows, decode one image per camera."""
    meta = LeRobotDataset(root).meta
    starts = np.array([episode.start for episode in meta.episodes])

    def read(row: int) -> object:
        episode = meta.episodes[int(np.searchsorted(starts, row, side="right")) - 1]
        table = pq.ParquetFile(episode.data_path).read_row_group(episode.index, columns=COLUMNS)
        record = table.slice(row - episode.start, 1).to_pylist()[0]
        return [np.array(Image.open(io.BytesIO(record[camera]["bytes"])).convert("RGB")) for camera in CAMERAS]

    return read


def plain_video(root: Path) -> Callable[[int], object]:
    """One PyAV open per sample and camera; numbers come from memory."""
    dataset = LeRobotDataset(root)
    dataset.columns(["state", "actions"])

    def read(row: int) -> object:
        episode, frame = dataset.locate(row)
        images = []
        for camera in CAMERAS:
            place = episode.videos[camera]
            wanted_s = place.from_s + frame / FPS
            with av.open(str(place.path)) as container:
                stream = container.streams.video[0]
                tick_s = float(stream.time_base or 0)
                container.seek(round(wanted_s / tick_s), stream=stream, backward=True)
                for image in container.decode(stream):
                    if (image.pts or 0) * tick_s >= wanted_s - 0.5 / FPS:
                        images.append(image.to_ndarray(format="rgb24"))
                        break
        return images

    return read


def ours(root: Path) -> Callable[[int], object]:
    """This package's reader, with a cache of a quarter of the data."""
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    dataset = LeRobotDataset(root, cache_bytes=max(size // 4, 32 << 20))
    dataset.columns(["state", "actions"])
    return lambda row: dataset.row(row, COLUMNS)


def race(routes: dict[str, Callable[[int], object]], rows: np.ndarray, rounds: int) -> dict[str, float]:
    """Samples per second of each route: medians over rounds in which they take turns on the same rows."""
    seconds: dict[str, list[float]] = {name: [] for name in routes}
    for part in np.array_split(rows, rounds + 1):  # the first one warms up
        for name, read in routes.items():
            started = time.perf_counter()
            for row in part:
                read(int(row))
            seconds[name].append((time.perf_counter() - started) / len(part))
    return {name: 1 / statistics.median(values[1:]) for name, values in seconds.items()}


def arrays(sample: Sample, _rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A sample without text."""
    assert sample.actions is not None
    return {**sample.observation.images, "actions": sample.actions}


def loader_rate(root: Path, batches: int) -> float:
    """Samples per second of the shuffled loader with two threads, images and chunks of ten."""
    source = ChunkSource(LeRobotDataset(root), None, robot=ROBOTS["libero"], horizon=10)
    loader = Loader(source, arrays, LoaderConfig(batch_size=16, seed=0, shuffle=True))
    next(loader)
    started = time.perf_counter()
    for _ in range(batches):
        next(loader)
    rate = 16 * batches / (time.perf_counter() - started)
    loader.close()
    return rate


def statistics_of(root: Path) -> dict[str, float]:
    """Seconds for statistics of the whole dataset, its opening included, and how much memory they took."""
    before_mb = peak_mb()
    seconds = {}
    for name, streaming in (("stats_100k_frames_s", False), ("stats_100k_frames_streaming_s", True)):
        started = time.perf_counter()
        source = ChunkSource(LeRobotDataset(root), None, robot=ROBOTS["libero"], horizon=10)
        source_stats(source, streaming=streaming)
        seconds[name] = time.perf_counter() - started
    return {**seconds, "stats_100k_frames_peak_mb": peak_mb() - before_mb}


def peak_mb() -> float:
    """This process's peak of resident memory. Not `getrusage`, whose figure a new process inherits from its parent."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def main(args: Sequence[str] | None = None) -> None:
    """Writes, reads, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller datasets, fewer rounds: a minute or two")
    quick = parser.parse_args(args).quick
    episodes, length, rounds, per_round = (6, 80, 5, 24) if quick else (20, 150, 11, 60)
    rows = np.random.default_rng(0).permutation(episodes * length)[: (rounds + 1) * per_round]
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        numbers = write(folder / "numbers", "image", 200, 500, 8)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            figures |= pool.submit(
                statistics_of, numbers
            ).result()  # a fresh process: its peak of memory is theirs alone
        image, video = (write(folder / kind, kind, episodes, length, 256) for kind in ("image", "video"))
        whole = as_lerobot_lays_it_out(image, folder / "whole")
        rates = race({"ours": ours(image), "whole": ours(whole), "plain": plain_image(whole)}, rows, rounds)
        figures |= {
            "samples_per_s_image": rates["ours"],
            "samples_per_s_image_lerobot_layout": rates["whole"],
            "samples_per_s_plain_image": rates["plain"],
            "speedup_vs_plain_image": rates["ours"] / rates["plain"],
            "speedup_vs_plain_image_lerobot_layout": rates["whole"] / rates["plain"],
        }
        rates = race({"ours": ours(video), "plain": plain_video(video)}, rows, rounds)
        figures |= {
            "samples_per_s_video": rates["ours"],
            "samples_per_s_plain_video": rates["plain"],
            "speedup_vs_plain_video": rates["ours"] / rates["plain"],
        }
        for kind, root in (("image", image), ("video", video)):
            figures[f"loader_samples_per_s_{kind}"] = loader_rate(root, 10 if quick else 60)
    print(json.dumps({key: round(value, 3) for key, value in figures.items()}))


if __name__ == "__main__":
    main()
