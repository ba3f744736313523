"""PaliGemma's geometry, on a synthetic tokenizer of its size."""

from functools import partial
import http.server
import json
from pathlib import Path
import threading

import numpy as np
import pytest

from inspire_fast.tokenizers.text import paligemma
from inspire_fast.tokenizers.text.paligemma import load_paligemma, openpi_cache
from inspire_fast.tokenizers.text.tokenizer import LOCATIONS, SEGMENTS, TextTokenizer

SMALL = TextTokenizer.fit(["Task: put it on the plate\n"] * 4, vocab_size=300)


def tokenizer_json(*, size: int, added: tuple[str, ...] = ()) -> str:
    """Gemma-like: bytes, a few letters, and holes up to `size`; then `added`."""
    names = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{b:02X}>" for b in range(256)), *"abc▁"]
    names += [f"piece{i}" for i in range(size - len(names))]
    special = [{"id": i, "content": n, "special": True} for i, n in enumerate(names[:4])]
    tokens = [*special, *({"id": size + i, "content": n, "special": n == "<image>"} for i, n in enumerate(added))]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    model = {"type": "BPE", "vocab": {n: i for i, n in enumerate(names)}, "merges": [], "unk_token": "<unk>"}
    return json.dumps(
        {
            "version": "1.0",
            "added_tokens": [{**token, **flags} for token in tokens],
            "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            "pre_tokenizer": None,
            "post_processor": None,
            "decoder": None,
            "model": {**model, "byte_fallback": True, "fuse_unk": True, "ignore_merges": False},
        }
    )


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPENPI_DATA_HOME", str(tmp_path / "openpi"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


@pytest.mark.parametrize("added", [(), (*LOCATIONS, *SEGMENTS, "<image>")], ids=["Gemma's", "PaliGemma's"])
def test_locations_stand_where_paligemma_has_them(tmp_path: Path, added: tuple[str, ...]) -> None:
    (tmp_path / "tokenizer.json").write_text(tokenizer_json(size=256_000, added=added), encoding="utf-8")
    tokenizer = load_paligemma(tmp_path)
    assert tokenizer.vocab_size == 257_152  # without `<image>`, which openpi does not have
    np.testing.assert_array_equal(tokenizer.location_ids, np.arange(256_000, 257_024))
    assert tokenizer.piece(257_023) == "<loc1023>"
    assert tokenizer.find("<seg127>") == 257_151
    assert tokenizer.find("<image>") is None
    assert max(tokenizer.encode("a <loc0000> b <image> c <seg001>")) < 256_000


def test_other_tokenizers_are_refused(tmp_path: Path) -> None:
    SMALL.save(tmp_path)
    with pytest.raises(
        ValueError, match=rf"not PaliGemma's tokenizer: it has {SMALL.vocab_size} ids and 0 location ids"
    ):
        load_paligemma(tmp_path)


def test_the_caches_are_searched(caches: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"big_vision/paligemma_tokenizer\.model.*download=True"):
        load_paligemma()
    snapshot = caches / "hub/models--google--paligemma-3b-pt-224/snapshots/0"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs/main").write_text("0", encoding="utf-8")
    (snapshot / "tokenizer.json").write_text(tokenizer_json(size=256_000), encoding="utf-8")
    assert paligemma.find_paligemma() == snapshot / "tokenizer.json"
    openpi_cache().parent.mkdir(parents=True)
    openpi_cache().write_bytes(SMALL._model.data)
    assert paligemma.find_paligemma() == openpi_cache()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


def test_downloads_arrive_whole_or_not_at_all(caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (caches / "small.model").write_bytes(SMALL._model.data)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(caches)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    with pytest.raises(ValueError, match="not PaliGemma's"):
        load_paligemma(download=True, url=f"{url}/small.model")
    with pytest.raises(ConnectionError, match=r"404.*put a copy at"):
        load_paligemma(download=True, url=f"{url}/absent")
    assert not list(openpi_cache().parent.iterdir())
    monkeypatch.setattr(paligemma, "VOCAB_SIZE", SMALL.vocab_size + 1152)  # what makes the small one the right one
    monkeypatch.setattr(paligemma, "FIRST_LOCATION", SMALL.vocab_size)
    assert load_paligemma(download=True, url=f"{url}/small.model").find("<loc0000>") == SMALL.vocab_size
    server.shutdown()
    server.server_close()
    assert load_paligemma().vocab_size == SMALL.vocab_size + 1152  # from the cache
    openpi_cache().unlink()
    with pytest.raises(ConnectionError, match="Cannot download PaliGemma's tokenizer"):
        load_paligemma(download=True, url=f"{url}/small.model")
