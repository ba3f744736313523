"""Parameters in an Orbax checkpoint, in either of openpi's two layouts.

<step>/params   one top key `params`; leaf paths `params/PaliGemma/...`
released        the leaves themselves (a pure dict), as in the checkpoints that openpi publishes, and ours
trained         every leaf one level deeper, under `value`: what openpi's training writes from an `nnx.State`

Orbax writes them. They are read with TensorStore, on which Orbax rests, a piece of an array at a time: Orbax itself
reads whole leaves at once, and after a damaged one prints a traceback for every other that it had begun.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import itertools
import json
from pathlib import Path
from typing import Any, Literal

from etils import epath
from flax import traverse_util
import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore as ts

from inspire_fast.checkpoints.params.base import StoredParams, aligned_empty
from inspire_fast.core.registry import require_choice

Layout = Literal["released", "trained"]
ITEM = "params"
_SUFFIX = "value"
# Read at once, and written as one piece: large enough for the disk, small compared to a network.
_PIECE_BYTES = 64 << 20

Key = tuple[str, ...]


def open_orbax(step: Path) -> StoredParams:
    """The parameters of `<step>/params`, or of that folder itself.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is no Orbax checkpoint of parameters, or an incomplete copy of one.
    """
    folder = _params_folder(step)
    keys, description = _describe(folder)
    end = -1 if _layout(keys) == "trained" else None
    try:
        futures = {"/".join(key[1:end]): ts.open(_spec(folder, key, description)) for key in keys}
        arrays = {path: future.result() for path, future in futures.items()}
    except (ValueError, OSError) as error:
        raise _unreadable(folder, error) from error
    _require_chunks(folder, arrays, description)

    def read(path: str, dtype: np.dtype) -> np.ndarray:
        stored = arrays[path]
        array = aligned_empty(stored.shape, dtype)
        target, cast = ts.array(array), ts.cast(stored, ts.dtype(array.dtype))
        try:
            for piece in _pieces(stored):  # decoded straight into its place, and cast on the way
                target[piece].write(cast[piece]).result()
        except (ValueError, OSError) as error:
            raise _unreadable(folder, error) from error
        return array

    leaves = {path: jax.ShapeDtypeStruct(a.shape, a.dtype.numpy_dtype) for path, a in arrays.items()}
    return StoredParams(origin=str(folder), leaves=leaves, read=read)


def layout_of(step: Path) -> Layout:
    """The layout of a step's parameters; raises what `open_orbax` does."""
    return _layout(_describe(_params_folder(step))[0])


def _params_folder(step: Path) -> Path:
    folder = step / ITEM if (step / ITEM).is_dir() else step
    if not folder.is_dir():
        raise FileNotFoundError(f"No checkpoint at {step}: expected a folder `{ITEM}` in it.")
    return folder.resolve()


def _layout(keys: list[Key]) -> Layout:
    return "trained" if all(key[-1] == _SUFFIX for key in keys) else "released"


def _spec(folder: Path, key: Key, description: Mapping[str, Any]) -> dict[str, Any]:
    """Where Orbax puts an array: in one OCDBT database for all, or (older) in a folder of its own."""
    name = ".".join(key)
    if (folder / "manifest.ocdbt").is_file():
        kvstore = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{folder}/"}, "path": f"{name}/"}
    else:
        kvstore = {"driver": "file", "path": f"{folder / name}/"}
    return {
        "driver": "zarr3" if description.get("use_zarr3") else "zarr",
        "kvstore": kvstore,
        "open": True,
        # Where zeros are stored like everything else, a piece that is not there is lost, not zero.
        "fill_missing_data_reads": not description.get("store_array_data_equal_to_fill_value", False),
    }


def _require_chunks(folder: Path, arrays: Mapping[str, ts.TensorStore], description: Mapping[str, Any]) -> None:
    """Refuses arrays whose files are gone, where TensorStore would read zeros in their place.

    Older Orbax leaves out pieces that are all zero. In one database what is left out is known to be; in folders of
    files it looks like what was lost, and zeros throughout a trained network's array are the unlikelier of the two.
    """
    if description.get("store_array_data_equal_to_fill_value") or (folder / "manifest.ocdbt").is_file():
        return
    stores = {path: array.kvstore for path, array in arrays.items() if array.size}
    listings = {path: store.list() for path, store in stores.items() if store is not None}
    lost = [path for path, keys in listings.items() if all(_is_metadata(key) for key in keys.result())]
    if lost:
        raise ValueError(
            f"The checkpoint {folder} has no data of {len(lost)} arrays, only their metadata: "
            f"{', '.join(sorted(lost)[:8])}. Copy it again, completely; if they are zero at the source, save it "
            "anew with a current Orbax, which stores zeros, too."
        )


def _describe(folder: Path) -> tuple[list[Key], Mapping[str, Any]]:
    """Key paths on disk, and what else `_METADATA` says."""
    file = folder / "_METADATA"
    if not file.is_file():
        there = ", ".join(sorted(p.name for p in folder.iterdir())[:12]) or "nothing"
        raise ValueError(
            f"{folder} is not an Orbax checkpoint, or an incomplete copy of one: it has no file `_METADATA`. "
            f"There is: {there}."
        )
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
        keys = [tuple(str(k["key"]) for k in leaf["key_metadata"]) for leaf in description["tree_metadata"].values()]
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(folder, error) from error
    top = sorted({key[0] for key in keys})
    if top != [ITEM]:
        raise ValueError(
            f"{folder} holds {', '.join(top[:8])}, not parameters: expected the one top key `{ITEM}`. A "
            f"step's `train_state` is not what is served; point at the step, or at its `{ITEM}`."
        )
    return keys, description


def _unreadable(folder: Path, error: Exception) -> ValueError:
    reason = " ".join(str(error).split())[:300] or repr(error)
    empty = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and not p.stat().st_size)
    hint = f" Empty files: {', '.join(empty[:5])}." if empty else ""
    return ValueError(
        f"The checkpoint {folder} cannot be read: files are missing, cut off or damaged.{hint} Copy it again, "
        f"completely (compare the files' sizes with the source's). Cause: {reason}"
    )


def _is_metadata(key: bytes) -> bool:
    return key.rpartition(b"/")[2] in (b".zarray", b".zattrs", b"zarr.json")


def _pieces(stored: ts.TensorStore) -> Iterator[tuple[slice, ...]]:
    """Boxes that cover an array, each of whole stored chunks: as many as fit `_PIECE_BYTES`, at least one.

    Chunks are taken together along the last axes first, which is how they lie in memory.
    """
    shape, itemsize = stored.shape, stored.dtype.numpy_dtype.itemsize
    chunk = [size or whole for size, whole in zip(stored.chunk_layout.read_chunk.shape or shape, shape, strict=True)]
    box = list(chunk)
    for axis in reversed(range(len(shape))):
        room = _PIECE_BYTES // max(itemsize * int(np.prod(box)), 1)
        box[axis] = min(shape[axis], chunk[axis] * max(room, 1))
        if box[axis] < shape[axis]:
            break
    starts = itertools.product(*(range(0, size, step) for size, step in zip(shape, box, strict=True)))
    for start in starts:
        yield tuple(slice(s, min(s + n, size)) for s, n, size in zip(start, box, shape, strict=True))


def in_pieces(tree: Any, piece_bytes: int | None = None) -> Any:
    """Orbax's save arguments for a tree of arrays that are cut as `write_params` cuts them."""
    size = _PIECE_BYTES if piece_bytes is None else piece_bytes or None
    return jax.tree.map(lambda _: ocp.SaveArgs(chunk_byte_size=size), tree)


def write_params(
    step: Path,
    params: Mapping[str, np.ndarray | jax.Array],
    *,
    layout: Layout = "released",
    piece_bytes: int | None = None,
) -> Path:
    """Writes `<step>/params` as openpi's own `restore_params` reads it.

    Args:
        step: the step's folder; made where it is missing.
        params: arrays under openpi's `/`-joined paths, without a trailing `value`. They are not copied.
        layout: see the module.
        piece_bytes: size of the pieces on disk; None is ours (64 MiB), 0 one piece per leaf, as openpi writes.

    Returns:
        The folder `params`.

    Raises:
        FileExistsError: the step has parameters already.
        ValueError: an unknown layout, or nothing to write.
    """
    require_choice("checkpoint layout", layout, Layout)
    if not params:
        raise ValueError(f"No parameters to write to {step}.")
    folder = step.resolve() / ITEM
    if folder.exists():
        raise FileExistsError(f"{folder} exists; choose another folder, or delete it first.")
    step.mkdir(parents=True, exist_ok=True)
    end: Key = (_SUFFIX,) if layout == "trained" else ()
    tree = traverse_util.unflatten_dict({(ITEM, *path.split("/"), *end): array for path, array in params.items()})
    handlers = ocp.type_handlers.create_type_handler_registry(
        (jax.Array, ocp.type_handlers.ArrayHandler()),
        (np.ndarray, ocp.type_handlers.NumpyHandler(deepcopy_host_arrays=False)),
    )
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(type_handler_registry=handlers)) as checkpointer:
        checkpointer.save(epath.Path(folder), args=ocp.args.PyTreeSave(tree, save_args=in_pieces(tree, piece_bytes)))
    return folder
