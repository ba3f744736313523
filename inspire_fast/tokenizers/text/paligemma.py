"""PaliGemma's text tokenizer: its copies on this machine, and the ids that released checkpoints rely on.

256000 ids of Gemma, `<loc0000>` .. `<loc1023>` as 256000 .. 257023, `<seg000>` .. `<seg127>` as 257024 .. 257151.
openpi's file holds all of them; Gemma's own, and some copies, lack the last two groups; `load_paligemma` appends them.
"""

from __future__ import annotations

from pathlib import Path
import urllib.error
import urllib.request

import numpy as np

from inspire_fast.core.files import open_atomic, openpi_home
from inspire_fast.tokenizers.text.tokenizer import LOCATIONS, SEGMENTS, TextTokenizer

VOCAB_SIZE = 257_152
FIRST_LOCATION = 256_000
URL = "https://storage.googleapis.com/big_vision/paligemma_tokenizer.model"
# Hugging Face repositories with the same tokenizer, and its file names.
REPOSITORIES = ("google/paligemma-3b-pt-224", "google/paligemma-3b-mix-224", "google/paligemma2-3b-pt-224")
FILES = ("tokenizer.model", "tokenizer.json")


def openpi_cache() -> Path:
    """Path of openpi's copy, below `OPENPI_DATA_HOME` or `~/.cache/openpi`."""
    return openpi_home() / "big_vision" / "paligemma_tokenizer.model"


def find_paligemma() -> Path | None:
    """Path of a copy in openpi's cache or the Hugging Face hub's, or None. Uses no network."""
    if openpi_cache().is_file():
        return openpi_cache()
    import huggingface_hub as hub

    places = (hub.try_to_load_from_cache(repository, name) for repository in REPOSITORIES for name in FILES)
    return next((Path(place) for place in places if isinstance(place, str)), None)


def load_paligemma(path: Path | None = None, *, download: bool = False, url: str = URL) -> TextTokenizer:
    """PaliGemma's tokenizer, with its location ids.

    Args:
        path: SentencePiece model, `tokenizer.json`, or a folder with one; None searches the caches.
        download: fetch it into openpi's cache if no copy is found.
        url: source of the download.

    Raises:
        FileNotFoundError: no copy; names the places and how to get one.
        ConnectionError: the download failed.
        ValueError: the file is another tokenizer.
    """
    found = path or find_paligemma()
    if found is None and download:
        found = _download(url)
    if found is None:
        raise FileNotFoundError(
            f"No copy of PaliGemma's tokenizer: neither {openpi_cache()} nor the Hugging Face cache of "
            f"{', '.join(REPOSITORIES)} holds one. Give its path, or download it: "
            f"load_paligemma(download=True) fetches {URL}."
        )
    return _require_paligemma(TextTokenizer.load(found), found)


def _require_paligemma(tokenizer: TextTokenizer, source: object) -> TextTokenizer:
    complete = tokenizer.with_pieces((*LOCATIONS, *SEGMENTS))
    expected = np.arange(FIRST_LOCATION, FIRST_LOCATION + len(LOCATIONS))
    if complete.vocab_size != VOCAB_SIZE or not np.array_equal(complete.location_ids, expected):
        raise ValueError(
            f"{source} is not PaliGemma's tokenizer: it has {tokenizer.vocab_size} ids and "
            f"{len(tokenizer.location_ids)} location ids; expected {VOCAB_SIZE} with locations from {FIRST_LOCATION} "
            f"on, or {FIRST_LOCATION} without any."
        )
    return complete


def _download(url: str) -> Path:
    """Downloads into openpi's cache; the file appears there once it is complete and checked."""
    target = openpi_cache()
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            content = response.read()
    except (urllib.error.URLError, TimeoutError) as error:
        raise ConnectionError(
            f"Cannot download PaliGemma's tokenizer from {url}: {error}. On a machine without a network, put a "
            f"copy at {target}."
        ) from error
    with open_atomic(target) as stream:
        stream.write(content)
        stream.flush()
        _require_paligemma(TextTokenizer.load(Path(stream.name)), url)
    return target
