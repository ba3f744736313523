"""The whole dialogue of a batch of rows as one jitted function."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from inspire_fast.models.inference.model import InferenceModel
from inspire_fast.policy.batching import Layout
from inspire_fast.policy.compiled.actions import act
from inspire_fast.policy.compiled.answers import Answered, answer
from inspire_fast.policy.compiled.arrays import ActionTables, Position, Result, Sampling


@jax.jit
def run(
    model: InferenceModel,
    images: dict[str, jax.Array],
    constant: dict[str, jax.Array],
    image_mask: dict[str, jax.Array],
    layout: Layout,
    tables: ActionTables,
    sampling: Sampling,
) -> Result:
    """The whole dialogue of all rows.

    Args:
        model: the network.
        images: uint8 `[b, h, w, 3]` of the cameras that see something.
        constant: tokens `[1, t, w]` of the other cameras, embedded once for all calls.
        image_mask: bool `[b]` per camera.
        layout: the dialogues.
        tables: the action grammar.
        sampling: how actions are drawn.
    """
    rows, slots = layout.ids.shape[0], layout.slots
    count, _, depth = slots.drafted.shape
    # Cameras that show the same in every call: all rows share their tokens.
    shared = {name: jnp.broadcast_to(one, (rows, *one.shape[1:])) for name, one in constant.items()}
    tokens = {**model.embed_images(images), **shared}
    # Of the prompt, few hidden states are needed: those that predict an id of a given answer (one place before it), and
    # the last one of every row, which predicts what follows the prompt.
    before = slots.start[:, :, None] - 1 + jnp.arange(depth)  # [q, b, d]
    wanted = jnp.concatenate([before.swapaxes(0, 1).reshape(rows, -1), layout.lengths[:, None] - 1], axis=1)
    # The cache holds the prompt, the answers and texts that may be read after it, and the longest chunk.
    capacity = layout.ids.shape[1] + layout.room + sampling.forced.shape[1]
    hidden, cache = model.prefill(tokens, image_mask, layout.ids, layout.lengths, layout.block, capacity, wanted)
    predicting = hidden[:, :-1].reshape(rows, count, depth, hidden.shape[2])  # [b, q, d, w]
    at = Position(last=hidden[:, -1], cache=cache)
    if count:
        at, answered, accepted = answer(model, layout, predicting, at)
    else:  # a script without questions
        none = jnp.zeros((0, rows))
        answered, accepted = Answered(symbols=jnp.zeros((0, rows, 1), jnp.int32), log_probability=none), none > 0
    chunk, steps = act(model, at, tables, sampling, layout.real)
    return Result(
        symbols=answered.symbols,
        log_probability=answered.log_probability,
        accepted=accepted,
        actions=chunk.written,
        action_log_probability=chunk.log_probability,
        steps=steps,
    )
