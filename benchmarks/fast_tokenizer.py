"""FAST encoding and decoding of 50x7 chunks, ours and the public processor's, in one interleaved run.

The public processor uses SciPy's transform, a Python loop over characters, and the `tokenizers` library's encoder and
decoder. Both take turns on the same fresh chunks and must give the same ids and actions.

    uv run python benchmarks/tokenizers.py --quick

Prints a table of medians per chunk and, as its last line, one JSON object.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
import json
import time
from typing import Any

import numpy as np
from scipy.fft import dct, idct
import tokenizers as hf

from inspire_fast.tokenizers.fast.tokenizer import FastTokenizer

HORIZON, DIMS = 50, 7
BLOCK = 25  # chunks


def smooth_chunks(count: int, seed: int) -> np.ndarray:
    """Sums of a few slow waves with a little noise, and a gripper that closes or opens once: `[count, 50, 7]`."""
    rng = np.random.default_rng(seed)
    steps = np.linspace(0, np.pi, HORIZON)[None, None, :, None]
    frequency = rng.uniform(0, 3, (count, 3, 1, DIMS))
    phase = rng.uniform(0, 2 * np.pi, (count, 3, 1, DIMS))
    size = rng.normal(scale=0.3, size=(count, 3, 1, DIMS))
    chunks = (size * np.sin(frequency * steps + phase)).sum(axis=1) + rng.normal(
        scale=0.01, size=(count, HORIZON, DIMS)
    )
    chunks[:, :, -1] = np.where(np.arange(HORIZON) < rng.integers(0, 2 * HORIZON, (count, 1)), -1, 1)
    return chunks


class Straightforward:
    """The public processor's steps."""

    def __init__(self, bpe: hf.Tokenizer, scale: float, min_token: int) -> None:
        self.bpe, self.scale, self.min_token = bpe, scale, min_token

    def encode(self, chunk: np.ndarray) -> list[int]:
        """Chunk -> ids."""
        coefficients = np.around(np.asarray(dct(chunk, axis=0, norm="ortho")) * self.scale)
        text = "".join(map(chr, np.maximum(coefficients.flatten() - self.min_token, 0).astype(int)))
        return self.bpe.encode(text).ids

    def decode(self, ids: list[int]) -> np.ndarray:
        """Ids -> chunk."""
        coefficients = np.array(list(map(ord, self.bpe.decode(ids)))) + self.min_token
        return np.asarray(idct(coefficients.reshape(HORIZON, DIMS) / self.scale, axis=0, norm="ortho"))


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """(result, microseconds)."""
    start = time.perf_counter()
    result = function(*arguments)
    return result, 1e6 * (time.perf_counter() - start)


def measure(ours: FastTokenizer, plain: Straightforward, chunks: np.ndarray) -> dict[str, np.ndarray]:
    """Microseconds per chunk of each operation; the two sides take turns, a block of chunks each."""
    results: dict[str, list[Any]] = {key: [] for key in ("encode", "plain_encode", "decode", "plain_decode")}
    times: dict[str, list[float]] = {key: [] for key in results}

    def run(key: str, function: Callable[[Any], Any], inputs: Iterable[Any]) -> None:
        for one in inputs:
            result, us = timed(function, one)
            results[key].append(result)
            times[key].append(us)

    for start in range(0, len(chunks), BLOCK):
        block = chunks[start : start + BLOCK]
        run("encode", ours.encode, block)
        run("plain_encode", plain.encode, block)
        ids = results["encode"][start:]
        run("decode", lambda one: ours.decode(one, HORIZON, DIMS), ids)
        run("plain_decode", plain.decode, ids)
    if results["encode"] != results["plain_encode"]:
        raise AssertionError("The two routes give different ids.")
    np.testing.assert_allclose(results["decode"], results["plain_decode"], atol=1e-6)
    return {key: np.array(values) for key, values in times.items()}


def main() -> None:
    """Fits, warms up, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="1000 chunks to fit and 500 to measure, instead of 4000 each"
    )
    fitted, measured = (1000, 500) if parser.parse_args().quick else (4000, 4000)
    train, fresh = smooth_chunks(fitted, seed=0), smooth_chunks(measured, seed=1)
    start = time.perf_counter()
    ours = FastTokenizer.fit(train, vocab_size=2048, cover=fresh)
    fit_s = time.perf_counter() - start
    plain = Straightforward(ours.bpe, ours.scale, ours.min_token)
    measure(ours, plain, train)  # the library remembers words, as in a long run
    times = measure(ours, plain, fresh)
    medians = {key: float(np.median(values)) for key, values in times.items()}
    lengths = [len(ids) for ids in ours.encode_batch(fresh)]
    print(
        f"{measured} chunks of {HORIZON}x{DIMS}, {ours.vocab_size} ids, {np.mean(lengths):.0f} per chunk; "
        f"fit {fit_s:.1f} s"
    )
    print(f"{'per chunk':10} {'scipy route':>12} {'ours':>10} {'speedup':>8}")
    result: dict[str, float] = {}
    for key in ("encode", "decode"):
        result[f"fast_{key}_us"] = round(medians[key], 1)
        result[f"scipy_{key}_us"] = round(medians[f"plain_{key}"], 1)
        result[f"fast_{key}_speedup"] = round(medians[f"plain_{key}"] / medians[key], 2)
        print(
            f"{key:10} {medians[f'plain_{key}']:9.1f} us {medians[key]:7.1f} us {result[f'fast_{key}_speedup']:7.2f}x"
        )
    _, batch_us = timed(ours.encode_batch, fresh)
    result["fast_encode_batch_us"] = round(batch_us / len(fresh), 1)
    print(json.dumps({**result, "ids_per_chunk": round(float(np.mean(lengths)), 1), "fit_s": round(fit_s, 2)}))


if __name__ == "__main__":
    main()
