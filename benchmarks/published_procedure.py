"""InSpire's published decoding procedure, as a baseline: what it costs to answer by it.

For every question the whole sequence (images, task, the questions and answers so far, this question) goes through the
network from the start, and the answer is the argmax over the whole vocabulary. Then it goes through once more, and
action tokens are written one by one, each the argmax over the whole vocabulary, until the end token; since the released
checkpoints were trained without one, that is 256 tokens. The kinder variant stops behind the last action token.

Kinder than upstream in everything that is not the procedure: every sequence is padded to no more than it needs and its
program is compiled beforehand (upstream compiles in the loop when a length is new), a third, black camera is left out,
and the 256 steps run in one compiled loop. All sides write the same forced ids, so that all do the same work.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from inspire_fast.models.inference.model import InferenceModel, logits
from inspire_fast.models.openpi.decode import Prompt, prefill, step
from inspire_fast.models.pi0_fast import Pi0Fast

MAX_STEPS = 256


def read(
    model: Pi0Fast | InferenceModel, images: dict[str, jax.Array], ids: jax.Array, block: jax.Array, room: int
) -> tuple[jax.Array, Any]:
    """Everything from the start: logits of the next token `[1, v]` and a cache with `room` free slots.

    As trained, by openpi's own decoding, which takes the prompt for one bidirectional block.
    """
    shown = dict.fromkeys(images, jnp.ones(1, bool))
    if not isinstance(model, InferenceModel):
        prompt = Prompt(images=images, image_mask=shown, ids=ids, valid=jnp.ones(ids.shape, bool))
        return prefill(model, prompt, max_decoding_steps=room)
    lengths = jnp.full(1, ids.shape[1])
    hidden, cache = model.prefill(model.embed_images(images), shown, ids, lengths, block, ids.shape[1] + room)
    return whole_logits(model, hidden[:, -1]), cache


def read_one(model: Pi0Fast | InferenceModel, cache: Any, token: jax.Array, room: int) -> tuple[jax.Array, Any]:
    """One token more, int `[1]`: logits of the next one and the cache."""
    if not isinstance(model, InferenceModel):
        return step(model, cache, token, max_decoding_steps=room)
    hidden, cache = model.extend(cache, token[:, None], jnp.ones(1, jnp.int32))
    return whole_logits(model, hidden[:, 0]), cache


def whole_logits(model: InferenceModel, hidden: jax.Array) -> jax.Array:
    """float32 `[1, v]`."""
    return logits(hidden, model.language.embedding.dense(model.dtype))


@jax.jit
def ask(model: Pi0Fast | InferenceModel, images: dict[str, jax.Array], ids: jax.Array, block: jax.Array) -> jax.Array:
    """One question: a pass from the start, an argmax over all ids."""
    scores, _ = read(model, images, ids, block, 0)
    return jnp.argmax(scores, axis=-1)


@partial(jax.jit, static_argnames=("room",))
def act(
    model: Pi0Fast | InferenceModel,
    images: dict[str, jax.Array],
    ids: jax.Array,
    block: jax.Array,
    forced: jax.Array,
    steps: int,
    *,
    room: int,
) -> jax.Array:
    """The actions: one more pass, then `steps` of at most `room` tokens; ids in `forced` replace the model's own."""

    def write(number: jax.Array, carry: tuple) -> tuple:
        scores, cache, out = carry
        likeliest = jnp.argmax(scores, axis=-1).astype(jnp.int32)
        given = forced[jnp.minimum(number, forced.shape[0] - 1)]
        token = jnp.where(number < forced.shape[0], given, likeliest)
        scores, cache = read_one(model, cache, token, room)
        return scores, cache, out.at[number].set(token[0])

    scores, cache = read(model, images, ids, block, room)
    return jax.lax.fori_loop(0, steps, write, (scores, cache, jnp.zeros(room, jnp.int32)))[2]


def decode(
    model: Pi0Fast | InferenceModel,
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
