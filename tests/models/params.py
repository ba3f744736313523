"""Networks from parameters in memory, filled by the code that fills them from checkpoints."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from inspire_fast.checkpoints.params.base import fill
from inspire_fast.models.config import DType, ModelConfig
from inspire_fast.models.pi0_fast import Pi0Fast

Arrays = Mapping[str, np.ndarray | jax.Array]


@dataclass(frozen=True)
class InMemory:
    """Stored parameters that are in memory already, under openpi's paths."""

    arrays: Arrays
    origin: str = "memory"

    @property
    def leaves(self) -> dict[str, jax.ShapeDtypeStruct]:
        return {path: jax.ShapeDtypeStruct(a.shape, a.dtype) for path, a in self.arrays.items()}

    def stream(
        self, dtype: jnp.dtype | None = None, paths: Collection[str] | None = None
    ) -> Iterator[tuple[str, np.ndarray]]:
        for path in self.arrays if paths is None else paths:
            yield path, np.asarray(self.arrays[path], dtype)


def network_of(config: ModelConfig, arrays: Arrays, dtype: DType | None = None) -> Pi0Fast:
    """A network that holds the arrays, as float32 or in `dtype`."""
    model = nnx.eval_shape(lambda: Pi0Fast(config, rngs=nnx.Rngs(0)))
    fill(model, InMemory(arrays), None if dtype is None else jnp.dtype(dtype))
    return model
