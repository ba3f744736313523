"""The SigLIP vision tower: patches -> pre-norm transformer -> linear head to the language model's width. No pooling."""

from __future__ import annotations

from flax import nnx
import jax
from jax import Array
import jax.numpy as jnp
from jaxtyping import Float

from inspire_fast.models.config import Remat, SiglipConfig
from inspire_fast.models.layers import attend, layer_norm
from inspire_fast.models.placement import place

_xavier = nnx.initializers.xavier_uniform
_normal = nnx.initializers.normal


class SiglipLayers(nnx.Module):
    """All transformer blocks, stacked on a leading layer axis `d`, so that one block is compiled for all of them."""

    def __init__(self, config: SiglipConfig, rngs: nnx.Rngs) -> None:
        d, w, f, n = config.depth, config.width, config.mlp_dim, config.heads
        h = w // n

        def weight(*shape: int) -> nnx.Param:
            # Xavier's: fan in plus fan out. Attention projects the width to all heads together, which are as wide.
            fans = sum(shape) if len(shape) == 2 else 2 * w
            bound = (6 / fans) ** 0.5
            return nnx.Param(jax.random.uniform(rngs.params(), (d, *shape), jnp.float32, -bound, bound))

        def filled(value: float, *shape: int) -> nnx.Param:
            return nnx.Param(jnp.full((d, *shape), value, jnp.float32))

        self.norm_attention_scale, self.norm_attention_bias = filled(1.0, w), filled(0.0, w)
        self.query, self.query_bias = weight(w, n, h), filled(0.0, n, h)
        self.key, self.key_bias = weight(w, n, h), filled(0.0, n, h)
        self.value, self.value_bias = weight(w, n, h), filled(0.0, n, h)
        self.out, self.out_bias = weight(n, h, w), filled(0.0, w)
        self.norm_mlp_scale, self.norm_mlp_bias = filled(1.0, w), filled(0.0, w)
        self.up, self.up_bias = weight(w, f), nnx.Param(_normal(1e-6)(rngs.params(), (d, f)))
        self.down, self.down_bias = weight(f, w), nnx.Param(_normal(1e-6)(rngs.params(), (d, w)))


class Siglip(nnx.Module):
    """The tower and its head; `remat` as in `ModelConfig`."""

    def __init__(
        self, config: SiglipConfig, *, image_hw: tuple[int, int], out_dim: int, rngs: nnx.Rngs, remat: Remat = "none"
    ) -> None:
        w, p = config.width, config.patch
        patches = (image_hw[0] // p) * (image_hw[1] // p)
        self.config = config
        self.remat: Remat = remat
        self.patch = nnx.Param(nnx.initializers.lecun_normal(in_axis=(0, 1, 2))(rngs.params(), (p, p, 3, w)))
        self.patch_bias = nnx.Param(jnp.zeros(w))
        self.position = nnx.Param(_normal(w**-0.5)(rngs.params(), (1, patches, w)))
        self.layers = SiglipLayers(config, rngs)
        self.norm_scale, self.norm_bias = nnx.Param(jnp.ones(w)), nnx.Param(jnp.zeros(w))
        self.head = nnx.Param(_xavier()(rngs.params(), (w, out_dim)))
        self.head_bias = nnx.Param(jnp.zeros(out_dim))

    def __call__(self, images: Float[Array, "b h w 3"], dtype: jnp.dtype) -> Float[Array, "b s out"]:
        """Images in [-1, 1] -> one token per patch; `dtype` is that of the activations."""
        return self.encode(images, dtype) @ self.head[...].astype(dtype) + self.head_bias[...].astype(dtype)

    def encode(self, images: Float[Array, "b h w 3"], dtype: jnp.dtype) -> Float[Array, "b s width"]:
        """Normed tokens before the head."""
        x = place(self.embed_patches(images, dtype) + self.position[...].astype(dtype), "batch")

        def block(x: Array, layer: dict[str, Array]) -> tuple[Array, None]:
            return add_mlp(add_attention(x, layer), layer), None

        if self.remat != "none":
            block = jax.checkpoint(block, policy=getattr(jax.checkpoint_policies, self.remat), prevent_cse=False)
        x, _ = jax.lax.scan(block, x, nnx.to_pure_dict(nnx.state(self.layers)))
        return layer_norm(x, self.norm_scale[...], self.norm_bias[...])

    def embed_patches(self, images: Float[Array, "b h w 3"], dtype: jnp.dtype) -> Float[Array, "b s width"]:
        """Tokens without positions, row by row of the patch grid."""
        p = self.config.patch
        b, height, width, _ = images.shape
        # A convolution whose stride is its size is a reshape and one product (y x: the grid; i j: a patch's pixels).
        grid = images.astype(dtype).reshape(b, height // p, p, width // p, p, 3)
        x = jnp.einsum("byixjc,ijcw->byxw", grid, self.patch[...].astype(dtype)) + self.patch_bias[...].astype(dtype)
        return x.reshape(b, -1, self.config.width)


def add_attention(x: Float[Array, "b l w"], layer: dict[str, Array]) -> Float[Array, "b l w"]:
    """The first half of a pre-norm block: `x` plus its attention."""
    p = {name: value.astype(x.dtype) for name, value in layer.items()}
    y = layer_norm(x, layer["norm_attention_scale"], layer["norm_attention_bias"])
    q = jnp.einsum("blw,wnh->blnh", y, p["query"]) + p["query_bias"]
    k = jnp.einsum("blw,wnh->blnh", y, p["key"]) + p["key_bias"]
    v = jnp.einsum("blw,wnh->blnh", y, p["value"]) + p["value_bias"]
    q, k, v = (place(heads, "batch", None, "heads") for heads in (q, k, v))
    attended = place(attend(q * q.shape[-1] ** -0.5, k, v, None), "batch", None, "heads")
    return place(x + jnp.einsum("blnh,nhw->blw", attended, p["out"]) + p["out_bias"], "batch")


def add_mlp(x: Float[Array, "b l w"], layer: dict[str, Array]) -> Float[Array, "b l w"]:
    """The second half: `x` plus its MLP, with tanh-approximated GELU."""
    p = {name: value.astype(x.dtype) for name, value in layer.items()}
    y = layer_norm(x, layer["norm_mlp_scale"], layer["norm_mlp_bias"])
    y = place(jax.nn.gelu(y @ p["up"] + p["up_bias"], approximate=True), "batch", None, "hidden")
    return place(x + y @ p["down"] + p["down_bias"], "batch")
