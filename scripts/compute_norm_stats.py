"""Normalisation statistics of a config's dataset or datasets, and what is odd about them. Reads no pictures.

    uv run scripts/compute_norm_stats.py <config> [--streaming] [--check norm_stats.json] [--field value ...]

Quantiles are exact where that takes less than 1 GiB; `--streaming` forces openpi's approximate ones. `--check` computes
nothing: it reports how statistics that exist already (a checkpoint's, say) suit the config's dataset. Of several datasets
(`data.parts`) they are those of the samples as they are drawn, and there is a report on each.
"""

from pathlib import Path
import sys

from inspire_fast.data.normalization.compute import fits_in_memory, source_stats
from inspire_fast.data.normalization.report import FastRange, describe, inspect_stats
from inspire_fast.data.normalization.stats import load_norm_stats, save_norm_stats
from inspire_fast.tokenizers.fast.tokenizer import FILE, FastTokenizer
from inspire_fast.training.cli import run_with_config
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.datasets.assets import make_normalizer, stats_path
from inspire_fast.training.datasets.sources import described, joined, open_parts


def compute(config: TrainConfig, *, streaming: bool, check: Path | None) -> None:
    """Computes, writes and prints them, then the report."""
    parts = open_parts(config, "train")
    source = joined(parts)
    print("\n".join(described(parts)), end="\n" if len(parts) > 1 else "")
    if check:
        stats = load_norm_stats(check)
    else:
        stats = source_stats(source, delta=config.delta, streaming=streaming or None)
        save_norm_stats(stats_path(config), stats)
        exact = not streaming and fits_in_memory(source)
        print(f"{len(source)} samples, {'exact' if exact else 'streaming'} quantiles: {stats_path(config)}")
    for key, s in stats.items():
        for name in ("mean", "std", *(() if s.q01 is None else ("q01", "q99"))):
            print(f"{key:8} {name:5}", " ".join(f"{v:8.3f}" for v in getattr(s, name)))
    fast = None
    if config.tokenizers.action == "fast" and (config.assets_dir / FILE).exists():
        tokenizer = FastTokenizer.load(config.assets_dir)
        fast = FastRange(min_token=tokenizer.min_token, max_token=tokenizer.max_token, scale=tokenizer.scale)
    for part in parts:
        report = describe(inspect_stats(part.source, make_normalizer(config, stats), fast=fast))
        print(report if len(parts) == 1 else report.replace("report:", f"report on {part.name}:"))


def main(args: list[str]) -> None:
    """Takes this script's own options out of the command line; the rest is the config's."""
    check = None
    if "--check" in args:
        at = args.index("--check")
        if at + 1 == len(args) or args[at + 1].startswith("-"):
            print("error: --check needs a file: --check <folder>/norm_stats.json", file=sys.stderr)
            raise SystemExit(2)
        check = Path(args[at + 1])
        del args[at : at + 2]
    streaming = "--streaming" in args
    rest = [arg for arg in args if arg != "--streaming"]
    description = "Normalisation statistics of a config's dataset."
    run_with_config(lambda config: compute(config, streaming=streaming, check=check), description, rest)


if __name__ == "__main__":
    main(sys.argv[1:])
