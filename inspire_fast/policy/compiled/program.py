"""The whole dialogue of a batch of rows as one jitted function."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from inspire_fast.models.inference.model import InferenceModel
from inspire_fast.policy.batching import Layout
from inspire_fast.policy.compiled.actions import act
from inspire_fast.policy.compiled.answers import Answered, answer, given_probabilities
from inspire_fast.policy.compiled.arrays import ActionTables, AnswerTables, Position, Result, Sampling


@jax.jit
def run(
    model: InferenceModel,
    images: dict[str, jax.Array],
    constant: dict[str, jax.Array],
    image_mask: dict[str, jax.Array],
    layout: Layout,
    words: AnswerTables,
    tables: ActionTables | None,
    sampling: Sampling,
) -> Result:
    """The whole dialogue of all rows.

    Args:
        model: the network.
        images: uint8 `[b, h, w, 3]` of the cameras that see something.
        constant: tokens `[1, t, w]` of the other cameras, embedded once for all calls.
        image_mask: bool `[b]` per camera.
        layout: the dialogues.
        words: the automaton of the answers.
        tables: the action grammar; None for a script that does not act.
        sampling: how actions are drawn.
    """
    count = layout.slots.drafted.shape[0]
    # The cache holds the prompt, the answers and texts that may be read after it, and the longest chunk.
    capacity = layout.ids.shape[1] + layout.room + sampling.forced.shape[1]
    predicting, at = read_prompt(model, images, constant, image_mask, layout, capacity)
    rows = layout.ids.shape[0]
    if count:
        at, answered, accepted = answer(model, layout, words, predicting, at)
    else:  # a script without questions
        none = jnp.zeros((0, rows))
        answered, accepted = Answered(symbols=jnp.zeros((0, rows, 1), jnp.int32), log_probability=none), none > 0
    if tables is None:
        written = jnp.full((rows, 0), -1, jnp.int32)
        log_probability, steps = jnp.full(rows, jnp.nan), jnp.int32(0)
    else:
        chunk, steps = act(model, at, tables, sampling, layout.real)
        written, log_probability = chunk.written, chunk.log_probability
    return Result(
        symbols=answered.symbols,
        log_probability=answered.log_probability,
        accepted=accepted,
        actions=written,
        action_log_probability=log_probability,
        steps=steps,
    )


def read_prompt(
    model: InferenceModel,
    images: dict[str, jax.Array],
    constant: dict[str, jax.Array],
    image_mask: dict[str, jax.Array],
    layout: Layout,
    capacity: int,
) -> tuple[jax.Array, Position]:
    """Reads the prompts: what predicts each id of the given answers, `[b, q, d, w]`, and where every row is then."""
    rows, slots = layout.ids.shape[0], layout.slots
    count, _, depth = slots.drafted.shape
    # Cameras that show the same in every call: all rows share their tokens.
    shared = {name: jnp.broadcast_to(one, (rows, *one.shape[1:])) for name, one in constant.items()}
    tokens = {**model.embed_images(images), **shared}
    # Of the prompt, few hidden states are needed: those that predict an id of a given answer (one place before it), and
    # the last one of every row, which predicts what follows the prompt.
    before = slots.start[:, :, None] - 1 + jnp.arange(depth)  # [q, b, d]
    wanted = jnp.concatenate([before.swapaxes(0, 1).reshape(rows, -1), layout.lengths[:, None] - 1], axis=1)
    hidden, cache = model.prefill(tokens, image_mask, layout.ids, layout.lengths, layout.block, capacity, wanted)
    predicting = hidden[:, :-1].reshape(rows, count, depth, hidden.shape[2])  # [b, q, d, w]
    return predicting, Position(last=hidden[:, -1], cache=cache)


@jax.jit
def answer_maps(
    model: InferenceModel,
    images: dict[str, jax.Array],
    constant: dict[str, jax.Array],
    image_mask: dict[str, jax.Array],
    layout: Layout,
    words: AnswerTables,
) -> jax.Array:
    """Probability of every symbol at every place of the given answers, float32 `[q, b, d, k]`; arguments as of `run`.

    Each is conditional on the symbols before it. What is not allowed, and what is behind an answer's end, has 0.
    """
    predicting, _ = read_prompt(model, images, constant, image_mask, layout, layout.ids.shape[1])
    return given_probabilities(predicting, words, layout)
