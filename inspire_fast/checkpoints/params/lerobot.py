"""LeRobot's `pi0_fast` parameters, as `model.safetensors` of a policy holds them, read and written.

`lerobot_table.py` has the names and layouts, one table for both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np

from inspire_fast.checkpoints.params.base import StoredParams, aligned_empty, largest_first
from inspire_fast.checkpoints.params.lerobot_table import (
    EMBEDDING,
    EMBEDDING_PATH,
    HEAD,
    LANGUAGE,
    LLM,
    TABLE,
    TOWER,
    VISION,
    Leaf,
    projections,
)
from inspire_fast.models.config import GEMMA_2B, ModelConfig

PREFIX = "model.paligemma_with_expert.paligemma."
"""Of every parameter in a file of LeRobot 0.5 and later, which is what is written."""
EXPERT = "paligemma_with_expert.gemma_expert."
"""In a name of a network with a flow-matching expert: pi0 or pi0.5."""
# The beginnings of other versions' names: LeRobot's own wrappers; transformers' of before 4.52, and its tower without
# the module between.
_WRAPPERS = re.compile(r"^(model\.)?(paligemma_with_expert\.paligemma|pi0_paligemma)\.")
_OTHER_VERSIONS = (
    (re.compile(r"^language_model\.lm_head\."), "lm_head."),
    (re.compile(r"^language_model\.model\."), "model.language_model."),
    (re.compile(r"^(vision_tower|multi_modal_projector)\."), r"model.\1."),
    (re.compile(r"^model\.vision_tower\.(?!vision_model\.)"), f"{TOWER}."),
)
_NORMALISATION = re.compile(r"(un)?normalize_(inputs|targets|outputs)\.")  # statistics, in files of before 0.4
_ROWS_AT_ONCE = 8192
_ROWS_AT_FIRST = 64
_LISTED = 12


def is_lerobot(names: Iterable[str]) -> bool:
    """Whether these are names of LeRobot's `pi0_fast`, of any version, and of no other policy's."""
    names = list(names)
    return any(_WRAPPERS.match(name) for name in names) and not any(EXPERT in name for name in names)


def from_lerobot(
    stored: StoredParams, rows: Callable[[str, slice], np.ndarray], model: ModelConfig | None = None
) -> StoredParams:
    """LeRobot's parameters under openpi's paths and in its layouts; arrays are read when they are asked for.

    Args:
        stored: the file's arrays under PyTorch's names, of all pieces together.
        rows: reads some rows of an array, as stored.
        model: the architecture, whose numbers of heads the arrays do not tell; None is PaliGemma's.

    Raises:
        ValueError: arrays are missing, unknown or of other shapes (lists them), or the head is not the embedding. The
            head is compared at a few rows here, and at all when the embedding is read.
    """
    names = {canonical(name): name for name in stored.leaves if not _NORMALISATION.match(name)}
    tied = _Tied(stored, rows, names.get(EMBEDDING), names.get(HEAD))
    tied.check(_ROWS_AT_FIRST)
    # safetensors keeps one of two names of a shared array.
    whole = {EMBEDDING: names[HEAD], **names} if HEAD in names else names
    counts = _counts(model or GEMMA_2B)
    sources = _sources(stored, whole)
    leaves = {path: _shape(stored, path, source, counts) for path, source in sources.items()}

    def read(path: str, dtype: np.dtype) -> np.ndarray:
        if path == EMBEDDING_PATH:
            tied.check()
        leaf, source, array = TABLE[path], sources[path], aligned_empty(leaves[path].shape, dtype)
        flat = array.reshape(source.size, *array.shape[leaf.leading :])
        for place, name in zip(flat, source.flat, strict=True):
            place[...] = leaf.read(stored.read(name, dtype), counts[_tower(path)])
        return array

    return StoredParams(origin=stored.origin, leaves=leaves, read=read, metadata=stored.metadata)


def canonical(name: str) -> str:
    """The name that current versions of LeRobot and transformers give a parameter, without LeRobot's wrappers."""
    name = _WRAPPERS.sub("", name, count=1)
    for earlier, now in _OTHER_VERSIONS:
        name = earlier.sub(now, name, count=1)
    return name


@dataclass(frozen=True)
class _Tied:
    """The head's equality to the embedding, of which our network has one for both."""

    stored: StoredParams
    rows: Callable[[str, slice], np.ndarray]
    embedding: str | None
    head: str | None

    def check(self, samples: int | None = None) -> None:
        """Compares some single rows, or all.

        Raises:
            ValueError: they differ.
        """
        if self.embedding is None or self.head is None:
            return
        count = self.stored.leaves[self.embedding].shape[0]
        step, width = (_ROWS_AT_ONCE, _ROWS_AT_ONCE) if samples is None else (max(1, count // samples), 1)
        for start in range(0, count, step):
            one, other = (
                self.rows(n, slice(start, min(start + width, count))).astype(np.float32)
                for n in (self.embedding, self.head)
            )
            if one.shape != other.shape or not np.array_equal(one, other):
                self._refuse(start, one, other)

    def _refuse(self, start: int, one: np.ndarray, other: np.ndarray) -> None:
        off = f"by up to {np.abs(one - other).max():.3g}" if one.shape == other.shape else "in shape"
        raise ValueError(
            f"{self.stored.origin} has a head of its own: {self.head} differs {off} from {self.embedding} (at id "
            f"{start} and after), since LeRobot trains both apart. This package's network has one matrix for both, as "
            "openpi's, and would compute something else. Take a checkpoint in which they are equal: one that openpi "
            "or this package trained, or that LeRobot fine-tuned with both frozen."
        )


def _counts(model: ModelConfig) -> dict[str, dict[str, int]]:
    """Numbers of heads, by tower: what cannot be told from an array's shape."""
    language = {"n": model.language.heads, "g": model.language.kv_heads, "o": 1}
    return {"img": {"n": model.vision.heads, "o": 1}, "llm": language}


def _tower(path: str) -> str:
    return path.split("/")[1]


def _sources(stored: StoredParams, names: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Names in the file of every array of ours: of shape `[layers, parts]`, without the axes that the leaf lacks.

    Raises:
        ValueError: lists what is missing, and what nobody knows.
    """
    depths = {tower: _depth(names, layer) for tower, layer in (("img", VISION), ("llm", LANGUAGE))}
    equal = all(stored.leaves[names[n]].shape == stored.leaves[names[m]].shape for n, m in _query_and_key(names))
    absent = {f"{LLM}/attn/{name}" for name in (("q_einsum/w", "kv_einsum/w") if equal else ("qkv_einsum/w",))}
    wanted = {path: leaf.expected(depths[_tower(path)]) for path, leaf in TABLE.items() if path not in absent}
    known = {name for array in wanted.values() for name in array.flat} | {HEAD}
    problems = [f"missing: {name}" for name in sorted(known - {HEAD}) if name not in names]
    problems += [f"unknown: {names[name]}" for name in sorted(names) if name not in known]
    if problems:
        raise ValueError(
            f"{stored.origin} does not hold the parameters of LeRobot's pi0_fast as LeRobot 0.3 to 0.6 wrote them. "
            f"{len(problems)} differences:\n  "
            + "\n  ".join(problems[:_LISTED] + ["..."] * (len(problems) > _LISTED))
            + "\nIs the copy complete, or is it an adapter (PEFT) to be merged first?"
        )
    in_file = np.frompyfunc(names.__getitem__, 1, 1)
    return {path: np.asarray(in_file(array), object) for path, array in wanted.items()}


def _query_and_key(names: Mapping[str, str]) -> list[tuple[str, str]]:
    pair = tuple(name.format(0) for name in projections("q", "k"))
    return [(pair[0], pair[1])] if all(name in names for name in pair) else []


def _depth(names: Iterable[str], layer: str) -> int:
    """Layers of a tower, one at least."""
    numbered = re.compile(re.escape(layer).replace(r"\{\}", r"(\d+)") + r"\.")
    return 1 + max((int(found[1]) for name in names if (found := numbered.match(name))), default=0)


def _shape(
    stored: StoredParams, path: str, source: np.ndarray, counts: Mapping[str, Mapping[str, int]]
) -> jax.ShapeDtypeStruct:
    """Shape and dtype of one of our arrays.

    Raises:
        ValueError: its parts differ in shape, or have other axes than the layout.
    """
    parts = {name: stored.leaves[name] for name in source.flat}
    first = next(iter(parts.values()))
    leaf = TABLE[path]
    if len(first.shape) != len(leaf.theirs) or any(part.shape != first.shape for part in parts.values()):
        shapes = sorted({f"{part.shape}" for part in parts.values()})
        raise ValueError(
            f"{next(iter(parts))} in {stored.origin}, and those stacked with it, have the shapes {', '.join(shapes)}; "
            f"expected one shape of {len(leaf.theirs)} axes."
        )
    try:
        sizes = leaf.sizes(first.shape, counts[_tower(path)])
    except ValueError as error:
        raise ValueError(
            f"{next(iter(parts))} in {stored.origin} has the shape {first.shape}: {error}. Is the network another than "
            "the configured one?"
        ) from error
    dtypes = {part.dtype for part in parts.values()}
    dtype = dtypes.pop() if len(dtypes) == 1 else jnp.dtype(jnp.float32)
    return jax.ShapeDtypeStruct((*source.shape, *(sizes[letter] for letter in leaf.ours)), dtype)


def to_lerobot(params: StoredParams) -> StoredParams:
    """Parameters under openpi's paths as LeRobot's: its names and layouts, with the embedding as head once more.

    Arrays are streamed so that those cut from one of ours follow each other; one of ours is in memory at a time.

    Raises:
        ValueError: low-rank halves, for which LeRobot has no place.
    """
    if unknown := [path for path in params.leaves if path not in TABLE]:
        raise ValueError(
            f"{params.origin} holds {len(unknown)} arrays that LeRobot's pi0_fast has no place for ({unknown[0]}, "
            "...). Merge low-rank updates into their weights first: --lora merge."
        )
    pieces = {name: (path, place) for path in largest_first(params.leaves) for name, place in _cut(params, path)}
    hold = functools.lru_cache(maxsize=1)(params.read)

    def read(name: str, dtype: np.dtype) -> np.ndarray:
        path, place = pieces[name]
        return TABLE[path].write(hold(path, dtype)[place])

    leaves = {name: _piece_shape(params.leaves[path], TABLE[path], place) for name, (path, place) in pieces.items()}
    return StoredParams(origin=params.origin, leaves=leaves, read=read, order=tuple(pieces))


def _cut(params: StoredParams, path: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every full name of PyTorch's that one of our arrays becomes, and where in it that one's values are."""
    leaf = TABLE[path]
    depth = params.leaves[path].shape[0] if leaf.stacked else 1
    for place, name in np.ndenumerate(leaf.expected(depth)):
        yield PREFIX + name, place
    if path == EMBEDDING_PATH:
        yield PREFIX + HEAD, ()


def _piece_shape(ours: jax.ShapeDtypeStruct, leaf: Leaf, place: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    sizes = dict(zip(leaf.ours, ours.shape[len(place) :], strict=True))
    shape = tuple(math.prod(sizes[letter] for letter in group) for group in leaf.theirs)
    return jax.ShapeDtypeStruct(shape, ours.dtype)
