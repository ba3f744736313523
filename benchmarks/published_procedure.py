"""InSpire's published decoding procedure, as a baseline: what it costs to answer by it.

For every question the whole sequence (images, task, the questions and answers so far, this question) goes through the network
from the start, and the answer is the argmax over the whole vocabulary. Then it goes through once more, and action tokens are
written one by one, each the argmax over the whole vocabulary, until the end token; since the released checkpoints were trained
without one, that is 256 tokens. The kinder variant stops behind the last action token.

Kinder than upstream in everything that is not the procedure: every sequence is padded to no more than it needs and its
program is compiled beforehand (upstream compiles in the loop when a length is new), a third, black camera is left out, and the
256 steps run in one compiled loop. All sides write the same forced ids, so that all do the same work.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from inspire_fast.models.inference.model import ServedModel, logits
from inspire_fast.models.pi0_fast import Pi0Fast

MAX_STEPS = 256


def read(
    model: Pi0Fast | ServedModel, images: dict[str, jax.Array], ids: jax.Array, block: jax.Array, room: int
) -> tuple[jax.Array, object]:
    """Everything from the start: the last hidden state `[1, w]` and a cache."""
    shown = dict.fromkeys(images, jnp.ones(1, bool))
    lengths = jnp.full(1, ids.shape[1])
    seen = model.embed_images(images) if isinstance(model, ServedModel) else images
    hidden, cache = model.prefill(seen, shown, ids, lengths, block, ids.shape[1] + room)  # pyright: ignore[reportArgumentType]
    return hidden[:, -1], cache


def whole_logits(model: Pi0Fast | ServedModel, hidden: jax.Array) -> jax.Array:
    """float32 `[1, v]`."""
    if isinstance(model, ServedModel):
        return logits(hidden, model.embedding.dense(model.dtype))
    return model.logits(hidden)


@jax.jit
def ask(model: Pi0Fast | ServedModel, images: dict[str, jax.Array], ids: jax.Array, block: jax.Array) -> jax.Array:
    """One question: a pass from the start, an argmax over all ids."""
    hidden, _ = read(model, images, ids, block, 0)
    return jnp.argmax(whole_logits(model, hidden), axis=-1)


@partial(jax.jit, static_argnames=("room",))
def act(
    model: Pi0Fast | ServedModel,
    images: dict[str, jax.Array],
    ids: jax.Array,
    block: jax.Array,
    forced: jax.Array,
    steps: int,
    *,
    room: int,
) -> jax.Array:
    """The actions: one more pass, then `steps` of at most `room` tokens; those in `forced` instead of the model's own."""

    def write(step: jax.Array, carry: tuple) -> tuple:
        hidden, cache, out = carry
        likeliest = jnp.argmax(whole_logits(model, hidden), axis=-1).astype(jnp.int32)
        given = forced[jnp.minimum(step, forced.shape[0] - 1)]
        token = jnp.where(step < forced.shape[0], given, likeliest)
        hidden, cache = model.extend(cache, token[:, None], jnp.ones(1, jnp.int32))
        return hidden[:, 0], cache, out.at[step].set(token[0])

    hidden, cache = read(model, images, ids, block, room)
    return jax.lax.fori_loop(0, steps, write, (hidden, cache, jnp.zeros(room, jnp.int32)))[2]


def decode(
    model: Pi0Fast | ServedModel,
    images: dict[str, np.ndarray],
    prompts: Sequence[tuple[np.ndarray, np.ndarray]],
    forced: np.ndarray,
    *,
    steps: int,
    room: int | None = None,
) -> np.ndarray:
    """The procedure on one observation.

    Args:
        model: as trained, or laid out for decoding (which the published code does not do).
        images: camera -> uint8 `[1, h, w, 3]`.
        prompts: ids and attention blocks, each `[l]`: one pair per question, then the one for the actions.
        forced: action ids of the vocabulary.
        steps: action tokens to write.
        room: what the cache has room for; None is `steps`.
    """
    for ids, block in prompts[:-1]:
        jax.block_until_ready(ask(model, images, ids[None], block[None]))  # the host reads the answer and goes on
    ids, block = prompts[-1]
    return np.asarray(act(model, images, ids[None], block[None], forced, steps, room=room or steps))
