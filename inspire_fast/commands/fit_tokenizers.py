"""Text and action tokenizer, fitted on a config's dataset."""

from functools import partial

from inspire_fast.commands.with_config import ConfigArgument, run_with_config
from inspire_fast.tokenizers.action import round_trip
from inspire_fast.training.datasets.assets import fit_tokenizers, load_stats, make_transform, normalised_chunks
from inspire_fast.training.datasets.known_lengths import count_lengths
from inspire_fast.training.datasets.sources import of_split, open_parts


def fit(config: ConfigArgument) -> None:
    """Fits text and action tokenizer on a config's dataset; reports errors of chunks and lengths of dialogues."""
    vocabulary = fit_tokenizers(config)
    print(
        f"text: {vocabulary.text.vocab_size} ids, actions ({config.tokenizers.action}): "
        f"{vocabulary.action.vocab_size} ids, in {config.assets_dir}"
    )
    train, stats = open_parts(config, "train"), load_stats(config)
    for split, parts in (("train", train), ("held_out", of_split(train, "held_out"))):
        chunks = normalised_chunks(config, stats, parts)
        print(f"{split}: {round_trip(vocabulary.action, chunks) if len(chunks) else 'no chunks'}")
    print(f"training dialogues: {count_lengths(config, train, make_transform(config, vocabulary, stats))}")


main = partial(run_with_config, fit)
