"""Normalisation statistics of a config's dataset: `uv run scripts/compute_norm_stats.py <config>`. Reads no pictures."""

from inspire_fast.training.assets import compute_stats, stats_path
from inspire_fast.training.cli import run_with_config
from inspire_fast.training.config import TrainConfig


def compute(config: TrainConfig) -> None:
    """Computes and prints them."""
    for key, stats in compute_stats(config).items():
        for name in ("mean", "std", "q01", "q99"):
            print(f"{key:8} {name:5}", " ".join(f"{v:8.3f}" for v in getattr(stats, name)))
    print(f"written to {stats_path(config)}")


if __name__ == "__main__":
    run_with_config(compute, "Normalisation statistics of a config's dataset.")
