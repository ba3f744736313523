"""Fits text and action tokenizer on a config's dataset: `uv run scripts/fit_tokenizers.py <config>`."""

from inspire_fast.tokenizers.action import round_trip
from inspire_fast.training.cli import run_with_config
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.datasets.assets import fit_tokenizers, load_stats, normalised_chunks


def fit(config: TrainConfig) -> None:
    """Fits and says what came out, on chunks that were trained on and on held-out ones."""
    vocabulary = fit_tokenizers(config)
    print(
        f"text: {vocabulary.text.vocab_size} ids, actions ({config.tokenizers.action}): {vocabulary.action.vocab_size} ids, "
        f"in {config.assets_dir}"
    )
    for split in ("train", "held_out"):
        chunks = normalised_chunks(config, load_stats(config), split)
        print(f"{split}: {round_trip(vocabulary.action, chunks) if len(chunks) else 'no chunks'}")


if __name__ == "__main__":
    run_with_config(fit, "Fits text and action tokenizer on a config's dataset.")
