"""Normalisation statistics of a config's datasets, with a report of what is odd about them."""

from functools import partial
from pathlib import Path

from inspire_fast.commands.with_config import ConfigArgument, run_with_config
from inspire_fast.data.normalization.compute import fits_in_memory, source_stats
from inspire_fast.data.normalization.report import FastRange, describe, inspect_stats
from inspire_fast.data.normalization.stats import load_norm_stats, save_norm_stats
from inspire_fast.tokenizers.fast.tokenizer import FILE, FastTokenizer
from inspire_fast.training.datasets.assets import make_normalizer, stats_path
from inspire_fast.training.datasets.provenance import made_from
from inspire_fast.training.datasets.sources import described, joined, open_parts, recorded


def compute(config: ConfigArgument, *, streaming: bool = False, check: Path | None = None) -> None:
    """Computes and prints the normalisation statistics of a config's datasets, with a report on each. Reads no images.

    Quantiles are exact where that takes less than 1 GiB. Several datasets are weighted as they are sampled;
    single pictures are left out.

    Args:
        config: the config, changed by the other options.
        streaming: use openpi's approximate quantiles in any case.
        check: compute nothing; report how well this `norm_stats.json` fits the config's datasets.
    """
    parts = recorded(open_parts(config, "train"))
    source = joined(parts)
    print("\n".join(described(parts)), end="\n" if len(parts) > 1 else "")
    if check:
        stats = load_norm_stats(check)
    else:
        stats = source_stats(source, delta=config.delta, streaming=streaming or None)
        save_norm_stats(stats_path(config), stats, made_from=made_from(config))
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


main = partial(run_with_config, compute)
