"""The public processor's files: its own are read with equal ids, and ours are written in its format."""

import json
from pathlib import Path
import shutil

import numpy as np
import pytest
from scipy.fft import dct, idct
import tokenizers as hf
from tokenizers import ByteLevelBPETokenizer, trainers

from inspire_fast.dialogue.testing import random_chunks
from inspire_fast.tokenizers.fast.tokenizer import FastTokenizer
from inspire_fast.tokenizers.registry import fit_action_tokenizer

SCALE = 10


class Processor:
    """The public processor's steps, written independently: SciPy's transform, characters, the library's BPE."""

    def __init__(self, folder: Path) -> None:
        self.config = json.loads((folder / "processor_config.json").read_text(encoding="utf-8"))
        self.bpe = hf.Tokenizer.from_file(str(folder / "tokenizer.json"))

    def encode(self, chunk: np.ndarray) -> list[int]:
        coefficients = np.around(dct(chunk, axis=0, norm="ortho") * self.config["scale"]).flatten()
        return self.bpe.encode(
            "".join(map(chr, np.maximum(coefficients - self.config["min_token"], 0).astype(int)))
        ).ids

    def decode(self, ids: list[int], horizon: int, dims: int) -> np.ndarray:
        coefficients = np.array(list(map(ord, self.bpe.decode(ids)))) + self.config["min_token"]
        return np.asarray(idct(coefficients.reshape(horizon, dims) / self.config["scale"], axis=0, norm="ortho"))


def write_public_folder(folder: Path, chunks: np.ndarray, vocab_size: int) -> Path:
    """Fits by the public recipe (letters of the text in the alphabet, unseen ones dropped) and writes its files."""
    coefficients = np.around(dct(chunks, axis=1, norm="ortho") * SCALE).astype(int).reshape(len(chunks), -1)
    low, high = int(coefficients.min()), int(coefficients.max())
    bpe = ByteLevelBPETokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        show_progress=False,
        special_tokens=[],
        initial_alphabet=[chr(i) for i in range(high - low + 1)],
        max_token_length=10000,
    )
    bpe._tokenizer.train_from_iterator(("".join(map(chr, row - low)) for row in coefficients), trainer=trainer)
    folder.mkdir(parents=True)
    bpe._tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "processor_class": "UniversalActionProcessor",
        "auto_map": {"AutoProcessor": "processing_action_tokenizer.UniversalActionProcessor"},
        "action_dim": None,
        "time_horizon": None,
        "min_token": low,
        "scale": SCALE,
        "vocab_size": vocab_size,
    }
    (folder / "processor_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}), encoding="utf-8"
    )
    return folder


# A narrow range keeps letters and byte symbols of the alphabet apart; a wide one, as the universal tokenizer's, mixes
# them.
@pytest.fixture(scope="module", params=[1.0, 6.0], ids=["narrow", "wide"])
def public(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    chunks = random_chunks(800, 12, 4) * request.param
    return write_public_folder(tmp_path_factory.mktemp("public") / "fast", chunks, 900)


def test_ids_and_actions_are_the_public_processors(public: Path) -> None:
    theirs, ours = Processor(public), FastTokenizer.load_processor(public)
    assert ours.vocab_size == theirs.bpe.get_vocab_size()
    width = -theirs.config["min_token"] / 10 / 12**0.5 / 1.3
    grammar, checked = ours.grammar(12, 4), 0
    for chunk in random_chunks(600, 12, 4, seed=1) * width:
        try:
            ids = ours.encode(chunk)
        except ValueError as error:
            assert "never saw" in str(error) or "outside the fitted range" in str(error)  # noqa: PT017
            continue
        assert ids == theirs.encode(chunk)
        np.testing.assert_allclose(ours.decode(ids, 12, 4), theirs.decode(ids, 12, 4), atol=1e-6)
        assert grammar.accepts(ids)
        checked += 1
    assert checked > 300


def test_the_range_is_read_off_the_alphabet(public: Path) -> None:
    ours, theirs = FastTokenizer.load_processor(public), Processor(public)
    letters = [piece for piece in theirs.bpe.get_vocab() if len(piece) == 1]
    assert ours.min_token == theirs.config["min_token"]
    # Byte symbols among the letters can only widen it, by what they are.
    assert ours.max_token - ours.min_token <= max(map(ord, letters))


def test_what_the_public_bpe_would_drop_raises(tmp_path: Path) -> None:
    chunks = random_chunks(50, 12, 4) * 0.3
    chunks[0] *= 6  # a wide range, most of it never seen
    folder = write_public_folder(tmp_path / "fast", chunks, 300)
    ours, theirs = FastTokenizer.load_processor(folder), Processor(folder)
    missing = sorted(ours._unspelled)
    assert missing, "this recipe leaves holes"
    chunk = np.zeros((12, 4))
    chunk[:, 0] = idct(np.eye(12)[3] * missing[0] / SCALE, norm="ortho")
    assert len(theirs.bpe.decode(theirs.encode(chunk))) < 48
    with pytest.raises(
        ValueError, match=rf"cannot spell the coefficients \[{missing[0]}\] of the fitted range .* drop"
    ):
        ours.encode(chunk)


def test_a_tokenizer_fitted_here_works_upstream(tmp_path: Path) -> None:
    chunks = random_chunks(300, 12, 4)
    ours = FastTokenizer.fit(chunks, vocab_size=400, cover=chunks * 1.5)
    ours.save_processor(tmp_path / "out")
    theirs = Processor(tmp_path / "out")
    assert (theirs.config["time_horizon"], theirs.config["action_dim"]) == (12, 4)
    assert theirs.config["vocab_size"] == ours.vocab_size
    for chunk in random_chunks(100, 12, 4, seed=2):
        assert theirs.encode(chunk) == ours.encode(chunk)
        np.testing.assert_allclose(
            theirs.decode(ours.encode(chunk), 12, 4), ours.decode(ours.encode(chunk), 12, 4), atol=1e-6
        )
    again = FastTokenizer.load_processor(tmp_path / "out")
    assert again.fingerprint == ours.fingerprint
    assert "max_token" not in theirs.config  # upstream's class takes no further settings


def test_newer_folders_keep_the_bpe_in_a_folder_of_its_own(public: Path, tmp_path: Path) -> None:
    shutil.copytree(public, tmp_path / "new")
    (tmp_path / "new/bpe_tokenizer").mkdir()
    (tmp_path / "new/tokenizer.json").rename(tmp_path / "new/bpe_tokenizer/tokenizer.json")
    assert (
        FastTokenizer.load_processor(tmp_path / "new").fingerprint == FastTokenizer.load_processor(public).fingerprint
    )


def test_a_repository_is_found_in_the_cache(public: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models--someone--fast"
    shutil.copytree(public, repository / "snapshots/0123")
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("0123", encoding="utf-8")
    found = FastTokenizer.load_processor("someone/fast", cache_dir=tmp_path)
    assert found.fingerprint == FastTokenizer.load_processor(public).fingerprint


def test_what_is_missing_says_where_it_was_looked_for(public: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"someone/fast.*download=True"):
        FastTokenizer.load_processor("someone/fast", cache_dir=tmp_path)
    shutil.copytree(public, tmp_path / "cut")
    (tmp_path / "cut/tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks tokenizer\.json; it holds processor_config\.json"):
        FastTokenizer.load_processor(tmp_path / "cut")
    (tmp_path / "cut/processor_config.json").write_text('{"scale": 10}', encoding="utf-8")
    with pytest.raises(ValueError, match="must hold the numbers `scale` and `min_token`"):
        FastTokenizer.load_processor(tmp_path / "cut")


def test_a_processor_can_stand_in_for_fitting(public: Path) -> None:
    chunks = random_chunks(20, 12, 4) * 0.1
    fitted = FastTokenizer.fit(chunks, processor=str(public))
    assert fitted.fingerprint == FastTokenizer.load_processor(public).fingerprint
    with pytest.raises(ValueError, match="outside the fitted range"):
        fit_action_tokenizer("fast", chunks * 1000, vocab_size=1024, parameters={"processor": str(public)})
