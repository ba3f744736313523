"""The compatibility option `openpi_decode` for a whole policy: free text is written and actions are looked for in it.

What is written may be no action chunk at all. openpi then answers zeros; here the row says what was wrong, and the robot
holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from inspire_fast.dialogue.render import Kind, PromptFields, end_ids, render
from inspire_fast.dialogue.script import ActionSlot, Script
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.models.openpi.decode import Prompt, sample
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.policy.batching import Answers
from inspire_fast.policy.decoder import Decoded

MAX_STEPS = 256
"""openpi's limit; its masked-camera arithmetic depends on it."""


class OpenpiDecoder:
    """Fills the action slot as openpi's own policy does; see `models/openpi/decode.py` for what is wrong with that.

    Args:
        model: the network.
        script: without questions.
        vocabulary: of the model.
        horizon, action_dim: shape of a chunk.
        max_token_len: what prompts are padded to.

    Raises:
        ValueError: the script asks questions or does not act.
    """

    def __init__(
        self,
        model: Pi0Fast,
        script: Script,
        vocabulary: Vocabulary,
        *,
        horizon: int,
        action_dim: int,
        max_token_len: int,
    ) -> None:
        if script.questions or not script.acts:
            raise ValueError(
                f"openpi_decode writes plain pi0-FAST actions; script {script.name!r} asks questions or does not act."
            )
        self.model, self.script, self.vocabulary = model, script, vocabulary
        self.answers: dict[str, Answers] = {}
        self._shape, self._max_token_len = (horizon, action_dim), max_token_len

    def decode(
        self,
        images: Mapping[str, np.ndarray],
        image_mask: Mapping[str, np.ndarray],
        prompts: Sequence[PromptFields],
        *,
        forced: Sequence[Sequence[str] | None] | None = None,
        drafts: Sequence[Sequence[str] | None] | None = None,
        temperature: float | Sequence[float] = 0.0,
        top_k: int | Sequence[int] = 0,
        seed: int | Sequence[int] = 0,
    ) -> list[Decoded]:
        """Runs every row; arguments as for `Decoder.decode`.

        Raises:
            ValueError: a prompt is longer than `max_token_len`, answers are given where nothing is asked, or rows differ in
                temperature or seed, which upstream has one of per call.
        """
        if any(forced or ()) or any(drafts or ()):
            raise ValueError(f"Answers were given, but script {self.script.name!r} asks nothing.")
        if np.any(top_k):
            raise ValueError("openpi_decode draws from all ids; leave top_k at 0.")
        temperatures, seeds = set(np.ravel(temperature).tolist()), set(np.ravel(seed).tolist())
        if len(temperatures) != 1 or len(seeds) != 1:
            raise ValueError(
                f"With openpi_decode the rows of a call share temperature and seed; got {temperatures}, {seeds}."
            )
        texts = [self._prompt(fields) for fields in prompts]
        ids = np.zeros((len(prompts), self._max_token_len), np.int32)
        valid = np.arange(self._max_token_len) < np.array([[len(text)] for text in texts])
        for row, text in zip(ids, texts, strict=True):
            row[: len(text)] = text
        written = sample(
            self.model,
            Prompt(
                images={k: jnp.asarray(v) for k, v in images.items()},
                image_mask={k: jnp.asarray(v) for k, v in image_mask.items()},
                ids=jnp.asarray(ids),
                valid=jnp.asarray(valid),
            ),
            max_decoding_steps=MAX_STEPS,
            temperature=temperatures.pop(),
            key=jax.random.key(seeds.pop()),
            eos=self.vocabulary.text.eos_id,
        )
        return [self._read(row) for row in np.asarray(written)]

    def check(self, fields: PromptFields, forced: Sequence[str] | None = None) -> None:
        """See `Decoder.check`."""
        if forced:
            raise ValueError(f"Answers were given, but script {self.script.name!r} asks nothing.")
        self._prompt(fields)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Those whose images `decode` takes."""
        return self.model.config.cameras

    def _prompt(self, fields: PromptFields) -> np.ndarray:
        rendered = render(self.script, fields, self.vocabulary)
        context = np.array([p.kind is Kind.CONTEXT for p in rendered.pieces])[rendered.tokens.segment]
        prompt = rendered.tokens.ids[context]
        if len(prompt) > self._max_token_len:
            raise ValueError(
                f"The prompt has {len(prompt)} ids; the checkpoint takes {self._max_token_len}. Shorten the instruction."
            )
        return prompt

    def _read(self, written: np.ndarray) -> Decoded:
        """Finds "Action: ", the action ids and what closes them."""
        try:
            ids = self._action_ids(written.tolist())
            self.vocabulary.action.decode(ids, *self._shape)
        except ValueError as error:
            return _held(str(error))
        return Decoded(answers=(), answer_probabilities=(), action_ids=tuple(ids), action_log_probability=float("nan"))

    def _action_ids(self, written: list[int]) -> list[int]:
        slot = self.script.segments[-1]
        opening, closing = self.script.segments[-2], end_ids(_action_slot(slot), self.vocabulary)[0]
        head = self.vocabulary.text.encode(getattr(opening, "text", ""))
        if written[: len(head)] != head:
            raise ValueError("The model did not begin an action.")
        body = written[len(head) :]
        if closing not in body:
            raise ValueError(f"The model did not close its action within {MAX_STEPS} ids.")
        return self.vocabulary.to_action(body[: body.index(closing)]).tolist()


def _action_slot(segment: object) -> ActionSlot:
    if not isinstance(segment, ActionSlot):
        raise TypeError(f"The script ends in {segment!r}, not in an action.")
    return segment


def _held(reason: str) -> Decoded:
    return Decoded(
        answers=(), answer_probabilities=(), action_ids=(), action_log_probability=float("nan"), problem=reason
    )
