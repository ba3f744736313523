"""Decoder of the compatibility option `openpi_decode`: the network writes free text, in which actions are searched.

The text may hold no action chunk. openpi then answers zeros; here the row names the problem, and the robot holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from inspire_fast.core.policy import RequestOptions
from inspire_fast.dialogue.render import Kind, PromptFields, end_ids
from inspire_fast.dialogue.script import ActionSlot, Script
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.models.openpi.decode import Prompt, sample
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.policy.batching import Row, plan_row
from inspire_fast.policy.decoder import Decoded
from inspire_fast.policy.seeds import NoiseSeeds

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
        self._shape, self._max_token_len = (horizon, action_dim), max_token_len
        self._seeds = NoiseSeeds()

    @property
    def cameras(self) -> tuple[str, ...]:
        """Those whose images `decode` takes."""
        return self.model.config.cameras

    def plan(self, fields: PromptFields, forced: Sequence[str] | None = None) -> Row:
        """The dialogue of one request, of which this decoder reads the context.

        Raises:
            ValueError: the prompt is longer than `max_token_len`, or answers are given, but nothing is asked.
        """
        if forced:
            raise ValueError(f"Answers were given, but script {self.script.name!r} asks nothing.")
        row = plan_row(self.script, fields, self.vocabulary, {})
        if (length := len(self._context(row))) > self._max_token_len:
            raise ValueError(
                f"The prompt has {length} ids; the checkpoint takes {self._max_token_len}. Shorten the instruction."
            )
        return row

    def decode(
        self, images: Mapping[str, np.ndarray], rows: Sequence[Row], options: Sequence[RequestOptions] | None = None
    ) -> list[Decoded]:
        """Runs the rows one by one, since upstream has one seed per call; arguments as for `Decoder.decode`.

        Raises:
            ValueError: `top_k` is not 0.
        """
        options = options or [RequestOptions()] * len(rows)
        return [
            self._decode_one({camera: image[number : number + 1] for camera, image in images.items()}, row, one)
            for number, (row, one) in enumerate(zip(rows, options, strict=True))
        ]

    def warm_up(
        self,
        prompts: Sequence[PromptFields],
        *,
        rows: Sequence[int] = (1,),
        speculate: bool = True,
    ) -> int:
        """Compiles the one program that there is; see `Decoder.warm_up`."""
        del rows, speculate
        black = np.zeros((1, *self.model.config.image_hw, 3), np.uint8)
        self.decode(dict.fromkeys(self.cameras, black), [self.plan(prompts[0])])
        return 1

    def _decode_one(self, images: Mapping[str, np.ndarray], row: Row, options: RequestOptions) -> Decoded:
        if options.top_k:
            raise ValueError("openpi_decode draws from all ids; leave top_k at 0.")
        context = self._context(row)
        ids = np.zeros((1, self._max_token_len), np.int32)
        ids[0, : len(context)] = context
        prompt = Prompt(
            images={camera: jnp.asarray(image) for camera, image in images.items()},
            image_mask={camera: jnp.ones(1, bool) for camera in images},
            ids=jnp.asarray(ids),
            valid=jnp.arange(self._max_token_len)[None] < len(context),
        )
        written = sample(
            self.model,
            prompt,
            max_decoding_steps=MAX_STEPS,
            temperature=options.temperature,
            key=jax.random.key(self._seeds.of(options)),
            eos=self.vocabulary.text.eos_id,
        )
        return self._read(np.asarray(written)[0])

    def _context(self, row: Row) -> np.ndarray:
        """int32 ids of the prompt without the script's own opening of the action."""
        prompt = row.prompt()
        context = np.array([piece.kind is Kind.CONTEXT for piece in row.dialogue.pieces])
        return prompt.ids[context[prompt.segment]]

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
