"""Fits text and action tokenizer on a config's dataset: `uv run scripts/fit_tokenizers.py <config>`."""

from inspire_fast.training.assets import fit_tokenizers
from inspire_fast.training.cli import run_with_config
from inspire_fast.training.config import TrainConfig


def fit(config: TrainConfig) -> None:
    """Fits and says what came out."""
    vocabulary = fit_tokenizers(config)
    print(
        f"text: {vocabulary.text.vocab_size} ids, actions: {vocabulary.action.vocab_size} ids, in {config.assets_dir}"
    )


if __name__ == "__main__":
    run_with_config(fit, "Fits text and action tokenizer on a config's dataset.")
