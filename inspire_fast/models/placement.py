"""Activation sharding: the mesh axes of every logical axis. The parameters' table is `training/sharding.py`.

Parameters and the batch both lie on `fsdp`. Without constraints on activations, the compiler may resolve that conflict
by gathering the batch, and then every device does the whole batch's work: right, and of no use.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import math
from typing import Literal

import jax
from jax import Array
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

LogicalAxis = Literal["batch", "heads", "hidden", "vocabulary", "looked_up_rows", "looked_up_width"]

# An axis that is not named here (positions, cameras, width) is whole on every device.
AXES: dict[LogicalAxis, tuple[str, ...]] = {
    "batch": ("data", "fsdp"),
    "heads": ("tensor",),
    "hidden": ("tensor",),
    "vocabulary": ("tensor",),
    # Between the embedding, whose width lies on `fsdp`, and the batch, which does too.
    "looked_up_rows": ("data",),
    "looked_up_width": ("fsdp",),
}


@contextmanager
def on_mesh(mesh: Mesh | None) -> Iterator[None]:
    """While it is open, `place` places what is traced on this mesh; None leaves everything as it is."""
    if mesh is None:
        yield
        return
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        yield


def place(x: Array, *axes: LogicalAxis | None) -> Array:
    """`x` with its axes divided as the table says; unchanged without a mesh, or on one device.

    Args:
        x: an activation.
        axes: its logical axes in order; None, and each axis after the last one named, is whole on every device. So is
            an axis whose size the mesh does not divide.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return x
    return jax.lax.with_sharding_constraint(x, P(*(_divided(axis, size) for axis, size in zip(axes, x.shape))))  # noqa: B905


def rows_per_device(rows: int) -> int:
    """Rows of a batch that one device has."""
    divided = _divided("batch", rows)
    return rows // _devices(divided) if divided else rows


def _divided(axis: LogicalAxis | None, size: int) -> tuple[str, ...] | None:
    """Mesh axes of a logical axis of this size."""
    if axis is None:
        return None
    known = tuple(name for name in AXES[axis] if name in jax.sharding.get_abstract_mesh().shape)
    return known if known and size % _devices(known) == 0 else None


def _devices(axes: tuple[str, ...]) -> int:
    return math.prod(jax.sharding.get_abstract_mesh().shape[name] for name in axes)
