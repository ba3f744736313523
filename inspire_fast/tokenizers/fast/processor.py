"""Files of the public FAST processor ("physical-intelligence/fast"), read and written without running its code.

    processor_config.json     scale, min_token, vocab_size; time_horizon and action_dim, null in the universal tokenizer
    tokenizer.json            the BPE, as the `tokenizers` library stores it; newer folders keep it in `bpe_tokenizer/`
    tokenizer_config.json, special_tokens_map.json    for `transformers` only

The largest coefficient is not stored. The public recipe puts `chr(0) .. chr(max - min)` into the BPE's alphabet, whose
size tells it; folders written here have a further file for it, `coefficient_range.json`.
"""

from __future__ import annotations

from dataclasses import dataclass
import json
from pathlib import Path
from typing import Annotated, Any

import tokenizers as hf

from inspire_fast.core.files import read_text, write_json
from inspire_fast.core.ranges import Count, Positive, Range, require_ranges

CONFIG, BPE, RANGE = "processor_config.json", "tokenizer.json", "coefficient_range.json"
REPO_ID = "physical-intelligence/fast"
PROCESSOR_CLASS = "UniversalActionProcessor"


@dataclass(frozen=True, kw_only=True)
class ProcessorSettings:
    """Settings of a processor; `FastTokenizer` explains them."""

    scale: Positive
    min_token: Annotated[int, Range()]
    max_token: Annotated[int, Range()]
    horizon: Count | None = None
    action_dim: Count | None = None

    def __post_init__(self) -> None:
        require_ranges(self)


def find(source: str | Path, *, download: bool = False, cache_dir: Path | None = None) -> Path:
    """Folder of a processor: `source` itself, or the Hugging Face cache's copy of the repository `source`.

    Args:
        source: folder, or name of a repository, such as "physical-intelligence/fast".
        download: fetch the repository's JSON files if the cache lacks them.
        cache_dir: cache of the Hugging Face hub; None is its default.

    Raises:
        FileNotFoundError: no such folder and no copy; names the places and how to get one.
        ConnectionError: the download failed.
    """
    if Path(source).is_dir():
        return Path(source)
    import huggingface_hub as hub
    from huggingface_hub import snapshot_download  # pyright: ignore[reportUnknownVariableType]

    cached = hub.try_to_load_from_cache(str(source), CONFIG, cache_dir=cache_dir) if _is_repo_id(source) else None
    if isinstance(cached, str):
        return Path(cached).parent
    if not download or not _is_repo_id(source):
        raise FileNotFoundError(
            f"No FAST processor {str(source)!r}: there is no such folder, and the Hugging Face cache "
            f"({cache_dir or hub.constants.HF_HUB_CACHE}) holds no such repository. Give a folder with "
            f"{CONFIG} and {BPE}, or download it: FastTokenizer.load_processor({str(source)!r}, download=True)."
        )
    try:
        return Path(snapshot_download(str(source), allow_patterns=["*.json", "*/*.json"], cache_dir=cache_dir))
    except Exception as error:  # the hub's connection errors have no common base class
        raise ConnectionError(f"Cannot download {str(source)!r} from the Hugging Face hub: {error}") from error


def _is_repo_id(source: str | Path) -> bool:
    parts = str(source).split("/")
    return isinstance(source, str) and len(parts) <= 2 and all(part and not part.startswith(".") for part in parts)


def read(folder: Path) -> tuple[hf.Tokenizer, ProcessorSettings]:
    """BPE and settings of a processor's folder.

    Raises:
        FileNotFoundError: a file is missing; lists the files of the folder.
        ValueError: a setting is missing or is no number.
    """
    stored = _json(folder, CONFIG)
    try:
        scale, min_token = float(stored["scale"]), int(stored["min_token"])
        horizon, action_dim = (_optional(stored.get(key)) for key in ("time_horizon", "action_dim"))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{folder / CONFIG} must hold the numbers `scale` and `min_token` (and `time_horizon`, `action_dim`, or "
            f"null for these two); it holds {stored!r:.300}."
        ) from error
    path = next((p for p in (folder / BPE, folder / "bpe_tokenizer" / BPE) if p.is_file()), None)
    if path is None:
        raise FileNotFoundError(_missing(folder, BPE))
    bpe = hf.Tokenizer.from_file(str(path))
    if (folder / RANGE).is_file():
        max_token = int(_json(folder, RANGE)["max_token"])
    else:
        max_token = min_token + _alphabet_size(bpe) - 1
    return bpe, ProcessorSettings(
        scale=scale, min_token=min_token, max_token=max_token, horizon=horizon, action_dim=action_dim
    )


def write(folder: Path, bpe: hf.Tokenizer, settings: ProcessorSettings) -> None:
    """Writes a folder that the public processor's class can load, without the code of that class."""
    folder.mkdir(parents=True, exist_ok=True)
    bpe.save(str(folder / BPE))
    config = {
        "processor_class": PROCESSOR_CLASS,
        "auto_map": {"AutoProcessor": f"processing_action_tokenizer.{PROCESSOR_CLASS}"},
        "scale": settings.scale,
        "min_token": settings.min_token,
        "vocab_size": bpe.get_vocab_size(),
        "time_horizon": settings.horizon,
        "action_dim": settings.action_dim,
    }
    tokenizer_config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    tokenizer_config["processor_class"] = PROCESSOR_CLASS
    for name, content in (
        (CONFIG, config),
        ("tokenizer_config.json", tokenizer_config),
        ("special_tokens_map.json", {}),
        (RANGE, {"max_token": settings.max_token}),
    ):
        write_json(folder / name, content)


def _alphabet_size(bpe: hf.Tokenizer) -> int:
    """Number of leading characters `chr(0), chr(1), ...` that are pieces, as in the public recipe."""
    vocabulary = bpe.get_vocab(with_added_tokens=False)
    size = 0
    while chr(size) in vocabulary:
        size += 1
    if not size:
        raise ValueError(
            f"The BPE's alphabet does not tell the range of coefficients, as the public recipe's does, and there is no "
            f'{RANGE}: write one with {{"max_token": <largest coefficient>}}.'
        )
    return size


def _optional(value: Any) -> int | None:
    return None if value is None else int(value)


def _json(folder: Path, name: str) -> dict[str, Any]:
    if not (folder / name).is_file():
        raise FileNotFoundError(_missing(folder, name))
    return json.loads(read_text(folder / name))


def _missing(folder: Path, name: str) -> str:
    here = ", ".join(sorted(p.name for p in folder.iterdir())) or "nothing"
    return f"{folder} is no FAST processor: it lacks {name}; it holds {here}."
