"""Benchmark of large datasets: seconds and peak memory of statistics, check, labels and tokenizers.

    uv run python benchmarks/large_data.py [--quick] [--chunks N]

Writes datasets of numbers to a temporary folder (every episode has an instruction of its own, its gripper takes a thing
and lets go of it) and does, each step in a process of its own, what comes before training: opening, check, labels by
hindsight, statistics, tokenizers. `--quick` has 2,000 and 8,000 instructions, and a million chunks of 100 instructions,
without labels. A ratio is the processor time at 8,000 instructions over 4 times that at 2,000: 1 is linear. Their
episodes are short, because FAST learns from and is tried on a bounded number of chunks: beyond it, `fit` is below 1.
Without it follow 30,000 episodes with as many instructions and 10 million rows. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
import itertools
import json
import multiprocessing
from pathlib import Path
import tempfile
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FPS, DIMS = 20, {"state": 8, "actions": 7}
ROWS_PER_FILE = 400_000
COLOURS = ("red", "green", "blue", "white", "black", "grey", "brown", "pink", "yellow", "purple", "orange", "golden")
SIZES = ("small", "large", "tall", "flat", "round", "square", "heavy", "light")
THINGS = ("cup", "bowl", "block", "can", "bottle", "box", "mug", "pot", "spoon", "ball", "book", "jar", "towel", "cube")
PLACES = ("plate", "tray", "shelf", "table", "stove", "basket", "bin", "rack", "mat", "stand", "cabinet", "box")


def instructions(number: int) -> list[str]:
    """Different instructions that name a thing to be taken and a place."""
    words = itertools.product(COLOURS, SIZES, THINGS, COLOURS, PLACES)
    texts = (f"put the {c} {s} {t} on the {d} {p}" for c, s, t, d, p in words)
    step = len(COLOURS) ** 2 * len(SIZES) * len(THINGS) * len(PLACES) // number
    return list(itertools.islice(texts, 0, number * step, step))


def numbers(rng: np.random.Generator, episodes: int, rows: int) -> dict[str, np.ndarray]:
    """States and actions of LIBERO's robot, float32 `[episodes * rows, d]`: to a thing, a grip, to a place."""
    time_ = np.linspace(0, 1, rows)[None, :, None]
    points = rng.uniform(-0.3, 0.3, (3, episodes, 1, 3))
    first, second = np.clip(time_ * 3, 0, 1), np.clip(time_ * 3 - 1.5, 0, 1)
    state = np.zeros((episodes, rows, 8), np.float32)
    state[..., :3] = points[0] + first * (points[1] - points[0]) + second * (points[2] - points[1])
    opening = np.where((time_ > 0.4) & (time_ < 0.85), 0.01, 0.04)[..., 0]
    state[..., 6], state[..., 7] = opening, -opening
    actions = np.zeros((episodes, rows, 7), np.float32)
    actions[..., :3] = np.gradient(state[..., :3], axis=1) * 20 + rng.normal(0, 0.02, (episodes, rows, 3))
    actions[..., 6] = np.where(opening < 0.02, 1, -1)
    return {"state": state.reshape(-1, 8), "actions": actions.reshape(-1, 7)}


def write(root: Path, episodes: int, rows: int, tasks: int) -> Path:
    """A dataset of the version 3.0 with many episodes per file; its cameras are declared as videos and have none."""
    data, meta = root / "data" / "chunk-000", root / "meta"
    data.mkdir(parents=True)
    (meta / "episodes" / "chunk-000").mkdir(parents=True)
    rng, per_file = np.random.default_rng(0), max(ROWS_PER_FILE // rows, 1)
    for file, start in enumerate(range(0, episodes, per_file)):
        part = np.arange(start, min(start + per_file, episodes))
        made = numbers(rng, len(part), rows)
        columns: dict[str, pa.Array] = {
            name: pa.FixedSizeListArray.from_arrays(pa.array(made[name].ravel()), dim) for name, dim in DIMS.items()
        }
        columns["timestamp"] = pa.array(np.tile(np.arange(rows) / FPS, len(part)).astype(np.float32))
        columns["episode_index"] = pa.array(np.repeat(part, rows))
        columns["task_index"] = pa.array(np.repeat(part % tasks, rows))
        pq.write_table(pa.table(columns), data / f"file-{file:03d}.parquet")
    number, texts = np.arange(episodes), instructions(tasks)
    table: dict[str, Any] = {"episode_index": number, "length": np.full(episodes, rows)}
    table |= {"data/chunk_index": np.zeros(episodes, int), "data/file_index": number // per_file}
    table |= {"dataset_from_index": number * rows, "dataset_to_index": (number + 1) * rows}
    table["tasks"] = [[texts[k % tasks]] for k in range(episodes)]
    for camera, (column, value) in itertools.product(
        ("image", "wrist_image"), [("chunk_index", 0), ("file_index", 0), ("from_timestamp", 0.0)]
    ):
        table[f"videos/{camera}/{column}"] = np.full(episodes, value)
    pq.write_table(pa.table(table), meta / "episodes" / "chunk-000" / "file-000.parquet")
    pq.write_table(pa.table({"task_index": np.arange(tasks), "task": texts}), meta / "tasks.parquet")
    (meta / "info.json").write_text(json.dumps(info(episodes, rows, tasks)), encoding="utf-8")
    return root


def info(episodes: int, rows: int, tasks: int) -> dict[str, Any]:
    """`info.json`."""
    features = {name: {"dtype": "float32", "shape": [dim], "names": None} for name, dim in DIMS.items()}
    features |= {name: {"dtype": "video", "shape": [64, 64, 3], "names": None} for name in ("image", "wrist_image")}
    whole = ("episode_index", "task_index")
    features |= {name: {"dtype": "int64", "shape": [1], "names": None} for name in whole}
    features["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    return {
        "codebase_version": "v3.0",
        "robot_type": "panda",
        "fps": FPS,
        "total_episodes": episodes,
        "total_frames": episodes * rows,
        "total_tasks": tasks,
        "features": features,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }


def opened(root: Path) -> str:
    """Metadata and the numbers that training keeps in memory."""
    from inspire_fast.data.chunks import ChunkSource
    from inspire_fast.data.lerobot.dataset import LeRobotDataset
    from inspire_fast.robots import ROBOTS

    return f"{len(ChunkSource(LeRobotDataset(root), None, robot=ROBOTS['libero'], horizon=10))} samples"


def checked(root: Path) -> str:
    """`check_dataset` of the columns of numbers."""
    from inspire_fast.data.lerobot.check import find_bad_episodes
    from inspire_fast.data.lerobot.dataset import LeRobotDataset

    return f"{len(find_bad_episodes(LeRobotDataset(root), list(DIMS)))} bad episodes"


def labelled(root: Path) -> str:
    """`label_dataset hindsight`."""
    from inspire_fast.data.lerobot.dataset import LeRobotDataset
    from inspire_fast.labeling.hindsight.producer import Hindsight
    from inspire_fast.labeling.labeler import label_dataset
    from inspire_fast.robots import ROBOTS

    report = label_dataset(LeRobotDataset(root), Hindsight(), robot=ROBOTS["libero"], progress=False)
    return f"{report.frames_labelled} of {report.frames} frames are labelled"


def configured(root: Path) -> Any:
    """The demo's config on a dataset, without questions where it has no labels."""
    from inspire_fast.training.named_configs import load_config

    config = load_config("demo")
    if not (root / "labels").is_dir():
        config = replace(config, dialogue=replace(config.dialogue, script="pi0_fast"))
    return replace(config, data=replace(config.data, root=root, unlabelled="ask_nothing"), assets=root / "assets")


def described(root: Path) -> str:
    """`compute_norm_stats`."""
    from inspire_fast.training.datasets.assets import compute_stats

    return f"statistics of {', '.join(compute_stats(configured(root)))}"


def fitted(root: Path) -> str:
    """`fit_tokenizers`, without its report."""
    from inspire_fast.training.datasets.assets import fit_tokenizers

    vocabulary = fit_tokenizers(configured(root))
    return f"{vocabulary.text.vocab_size} text ids, {vocabulary.action.vocab_size} action ids"


STEPS: dict[str, Callable[[Path], str]] = {
    "open": opened,
    "check": checked,
    "label": labelled,
    "stats": described,
    "fit": fitted,
}


def peak_mb() -> float:
    """This process's peak of resident memory. Not `getrusage`, whose figure a new process inherits from its parent."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def measured(step: str, root: Path) -> tuple[float, float, float, str]:
    """Seconds of one step, seconds of processor time, the process's peak in MB, and what the step says."""
    started, cpu = time.perf_counter(), time.process_time()
    said = STEPS[step](root)
    return time.perf_counter() - started, time.process_time() - cpu, peak_mb(), said


def run(name: str, root: Path, steps: Sequence[str]) -> dict[str, float]:
    """Each step in a fresh process; prints a line per step. Imports count as part of none."""
    figures: dict[str, float] = {}
    for step in steps:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            pool.submit(imported).result()
            seconds, cpu_s, mb, said = pool.submit(measured, step, root).result()
        figures |= {f"{step}_s_{name}": seconds, f"{step}_cpu_s_{name}": cpu_s, f"{step}_peak_mb_{name}": mb}
        print(
            f"{name:>12} {step:6} {seconds:8.1f} s ({cpu_s:7.1f} s of processor time) {mb:8.0f} MB  {said}", flush=True
        )
    return figures


def imported() -> None:
    """Imports what the steps use."""
    import inspire_fast.training.datasets.assets  # noqa: F401


def main(args: Sequence[str] | None = None) -> None:
    """Writes, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="without the large dataset: at most five minutes")
    parser.add_argument("--chunks", type=int, default=1_000_000, help="of the dataset that tokenizers are fitted on")
    options = parser.parse_args(args)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for tasks in (2_000, 8_000):
            root = write(folder / f"{tasks}", episodes=tasks, rows=12, tasks=tasks)
            figures |= run(f"{tasks}_tasks", root, list(STEPS))
        for step in STEPS:
            ratio = figures[f"{step}_cpu_s_8000_tasks"] / (4 * figures[f"{step}_cpu_s_2000_tasks"])
            figures["fit_s_per_1000_instructions_ratio" if step == "fit" else f"{step}_ratio"] = ratio
        root = write(folder / "chunks", episodes=options.chunks // 400, rows=400, tasks=100)
        found = run("chunks", root, ["stats", "fit"])
        figures |= {**found, "fit_peak_mb_at_1m_chunks": found["fit_peak_mb_chunks"]}
        if not options.quick:
            root = write(folder / "large", episodes=30_000, rows=334, tasks=30_000)
            figures |= run("large", root, list(STEPS))
    print(json.dumps({key: round(value, 3) for key, value in figures.items()}))


if __name__ == "__main__":
    main()
