"""Sharding table: the mesh axis of every parameter axis, and of the batch."""

from __future__ import annotations

from collections.abc import Sequence
import math
import re
from typing import Any

from flax import traverse_util
import jax
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from inspire_fast.models import placement
from inspire_fast.training.config import MeshConfig

_SMALL = 2**16  # elements
AXES = ("data", "fsdp", "tensor")
BATCH = P(placement.AXES["batch"])

# The first match decides. Letters as in CONTRIBUTING.md; `d` is the stacked layer axis, never sharded.
TABLE: tuple[tuple[str, P], ...] = (
    (r"language/embedding", P("tensor", "fsdp")),  # v w
    (r"language/layers/q$", P(None, "tensor", "fsdp", None)),  # d n w h
    (r"language/layers/kv", P(None, None, None, "fsdp", None)),  # d 2 g w h
    (r"language/layers/qkv", P(None, None, "tensor", "fsdp", None)),  # d 3 n w h
    (r"language/layers/out", P(None, "tensor", None, "fsdp")),  # d n h w
    (r"language/layers/gate_up", P(None, None, "fsdp", "tensor")),  # d 2 w f
    (r"language/layers/down", P(None, "tensor", "fsdp")),  # d f w
    (r"vision/patch$", P(None, None, None, "fsdp")),  # y x 3 w
    (r"vision/position$", P(None, None, "fsdp")),  # 1 l w
    (r"vision/layers/(query|key|value)$", P(None, "fsdp", "tensor", None)),  # d w n h
    (r"vision/layers/out$", P(None, "tensor", None, "fsdp")),  # d n h w
    (r"vision/layers/up$", P(None, "fsdp", "tensor")),  # d w f
    (r"vision/layers/down$", P(None, "tensor", "fsdp")),  # d f w
    (r"vision/head$", P(None, "fsdp")),
    (r".*", P()),  # norms, biases, positions, counters
)


def make_mesh(config: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh over devices, by default all; on TPUs, its axes follow the topology of their links.

    Raises:
        ValueError: the devices do not divide into fsdp x tensor.
    """
    devices = jax.devices() if devices is None else devices
    if len(devices) % (config.fsdp * config.tensor):
        raise ValueError(
            f"{len(devices)} devices cannot be arranged as fsdp={config.fsdp} x tensor={config.tensor}; their product "
            "must divide the number of devices."
        )
    shape = (len(devices) // (config.fsdp * config.tensor), config.fsdp, config.tensor)
    return Mesh(mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True), AXES)


def spec_for(path: str, shape: tuple[int, ...], mesh: Mesh | AbstractMesh) -> P:
    """The table's entry for a parameter; an axis whose size the mesh does not divide is not sharded."""
    spec = next(spec for pattern, spec in TABLE if re.search(pattern, path))
    if len(spec) > len(shape):
        return P()
    fits = [
        axis if axis is None or size % mesh.shape[axis] == 0 else None for axis, size in zip(spec, shape, strict=False)
    ]
    return P(*fits)


def state_shardings(state: Any, mesh: Mesh | AbstractMesh) -> Any:
    """The sharding of every leaf of a train state; optimiser moments follow their parameter, matched by path."""
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), _specs(state, mesh))


def place_like_parameters(gradients: dict[str, Any]) -> dict[str, Any]:
    """Gradients, or their sum, divided like their parameters; unchanged without a mesh (see `placement.on_mesh`)."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return gradients
    return jax.lax.with_sharding_constraint(gradients, _specs(gradients, mesh))


def _specs(tree: Any, mesh: Mesh | AbstractMesh) -> Any:
    def leaf(path: tuple[Any, ...], value: Any) -> P:
        name = "/".join(str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))) for k in path)
        return spec_for(name, value.shape, mesh)

    return jax.tree_util.tree_map_with_path(leaf, tree)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of a batch: rows over `data` and `fsdp`."""
    return NamedSharding(mesh, BATCH)


def placement_table(params: Any, shardings: Any) -> str:
    """A text table of parameters, their mesh axes and bytes per device; small unsharded ones share a line.

    Args:
        params: nested dictionary of arrays or shapes.
        shardings: nested dictionary of shardings, see `state_shardings`.
    """
    flat: dict[str, Any] = traverse_util.flatten_dict(params, sep="/")
    placed: dict[str, Any] = traverse_util.flatten_dict(shardings, sep="/")
    rows, small, count = [], 0, 0
    for path, value in flat.items():
        each = math.prod(placed[path].shard_shape(value.shape)) * value.dtype.itemsize
        sizes = placed[path].mesh.shape
        axes = [axis if axis and sizes[axis] > 1 else "-" for axis in placed[path].spec]
        axes = axes if any(axis != "-" for axis in axes) else []
        if value.size < _SMALL and not axes:
            small, count = small + each, count + 1
            continue
        shape = " x ".join(map(str, value.shape))
        rows.append((path, shape, value.dtype.name, " x ".join(axes) or "-", f"{each / 2**20:,.1f} MiB"))
    if count:
        rows.append((f"{count} small ones", "", "", "-", f"{small / 2**20:,.1f} MiB"))
    head = ("parameter", "shape", "dtype", "split over", "per device")
    widths = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows))
    return "\n".join(line.rstrip() for line in lines)
