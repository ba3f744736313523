"""Transform of samples to the network's training arrays: normalised, rendered by the one renderer, padded.

Nothing is truncated: a sample that does not fit raises, with the length that would fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from inspire_fast.core.batch import TARGET_ACTION, TARGET_ANSWER
from inspire_fast.core.types import Observation, Sample, SceneFacts
from inspire_fast.data.images import resize_with_pad
from inspire_fast.data.normalization.normalizer import Normalizer
from inspire_fast.data.question_dropout import QuestionDropout
from inspire_fast.dialogue.grounding.registry import GROUNDINGS
from inspire_fast.dialogue.render import Kind, PromptFields, Rendered, render, unroll
from inspire_fast.dialogue.script import Script
from inspire_fast.dialogue.vocabulary import Vocabulary

Unlabelled = Literal["refuse", "ask_nothing", "ask_known"]


@dataclass(frozen=True, kw_only=True)
class ModelInput:
    """Conversion of an observation to the network's images, at its size, and to its normalised state.

    Attributes:
        cameras: canonical names; one that the robot lacks is a black image, unmasked, as in pi0-FAST's training.
        image_hw: pixels.
        normalizer: of state and actions.
    """

    cameras: tuple[str, ...]
    image_hw: tuple[int, int]
    normalizer: Normalizer

    def images(self, observation: Observation) -> dict[str, np.ndarray]:
        """uint8 `[h, w, 3]` for every camera of the network."""
        black = np.zeros((*self.image_hw, 3), np.uint8)
        seen = {k: resize_with_pad(v, *self.image_hw) for k, v in observation.images.items() if k in self.cameras}
        return {camera: seen.get(camera, black) for camera in self.cameras}

    def prompt_fields(self, observation: Observation, targets: Sequence[str]) -> PromptFields:
        """The dialogue's placeholders, with the state normalised."""
        state = self.normalizer.state(observation.state)
        return PromptFields(instruction=observation.prompt, state=state, targets=tuple(targets))


def true_answers(script: Script, fields: PromptFields, facts: SceneFacts | None) -> tuple[str, ...]:
    """The right answer for every question slot of the dialogue, from facts."""
    by_phrase = {} if facts is None else {t.phrase: t for t in facts.targets}
    answers = []
    for piece in unroll(script, fields):
        if piece.kind is Kind.ANSWER:
            if piece.target not in by_phrase:
                raise ValueError(
                    f"No facts about {piece.target!r}; known: {sorted(by_phrase)}. Label the dataset first."
                )
            answers.append(piece.slot.truth(by_phrase[piece.target]))  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]
    return tuple(answers)


def facts_of(script: Script, sample: Sample, unlabelled: Unlabelled) -> SceneFacts | None:
    """Facts of the targets that a script asks about, in its words and order; None if it asks nothing.

    Training and held-out decoding ask about these, as inference does.

    Raises:
        ValueError: a target of the instruction has no facts in this frame, and `unlabelled` is "refuse".
    """
    if not script.questions:
        return None
    grounding, prompt = GROUNDINGS[script.grounding], sample.observation.prompt
    stored = sample.facts or SceneFacts(targets=())
    wanted = script.asked(grounding.targets(prompt, stored))
    known = [t for t in grounding.facts(prompt, stored).targets if t.phrase in wanted]
    missing = [phrase for phrase in wanted if phrase not in {t.phrase for t in known}]
    if wanted and not missing:
        return replace(stored, targets=tuple(known))
    if unlabelled == "refuse":
        raise ValueError(
            f"Script {script.name!r} asks about the targets of {prompt!r}, and this frame has no facts about "
            f"{missing or 'any'}. Label the dataset; if its labels leave frames out on purpose, as hindsight does, "
            "choose `--data.unlabelled ask_nothing` (or ask_known); or train the `pi0_fast` script."
        )
    return replace(stored, targets=tuple(known)) if unlabelled == "ask_known" and known else None


@dataclass(frozen=True, kw_only=True)
class TrainingTransform:
    """`Sample` -> arrays of one `Batch` row; see `Batch` for names and shapes.

    Attributes:
        max_token_len: `l`, text ids per row.
        max_supervised: `k`, supervised ids per row.
        state_noise: standard deviation of noise on the normalised state.
        question_dropout: random choice of a training sample's questions.
        unlabelled: treatment of a frame that lacks facts about a target: "refuse" raises; "ask_nothing" trains its
            actions alone; "ask_known" asks about the other targets. Hindsight leaves out uncertain targets, mostly near
            the gripper: with "ask_known" a missing question reveals that.
    """

    script: Script
    vocabulary: Vocabulary
    inputs: ModelInput
    max_token_len: int
    max_supervised: int
    state_noise: float = 0.0
    question_dropout: QuestionDropout = field(default_factory=QuestionDropout)
    unlabelled: Unlabelled = "refuse"

    def __call__(self, sample: Sample, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """One row, with images as `image:<camera>`; raises as `render` does, and if the dialogue does not fit."""
        rendered = self.render(sample, rng)
        images = {f"image:{k}": v for k, v in self.inputs.images(sample.observation).items()}
        return {**images, **self._pad(rendered)}

    def render(self, sample: Sample, rng: np.random.Generator | None = None) -> Rendered:
        """The sample's whole dialogue, with every blank filled from recorded facts.

        With `rng` it is as in training: noisy state, dropout of questions. Without, it is complete and exact.

        Raises:
            ValueError: no actions, or facts missing that the script asks about.
        """
        if sample.actions is None:
            raise ValueError("A training sample needs actions.")
        script, facts = self.script, self.facts_of(sample)
        fields = self.inputs.prompt_fields(sample.observation, tuple(t.phrase for t in facts.targets) if facts else ())
        if rng is not None:
            if self.state_noise:
                noise = rng.normal(scale=self.state_noise, size=fields.state.shape)
                fields = replace(fields, state=self.inputs.normalizer.noisy_state(fields.state, noise))
            asked, supervised = self.question_dropout.draw(fields.targets, rng)
            fields = replace(fields, targets=asked)
            script = script if supervised else script.unsupervised()
        return render(
            script,
            fields,
            self.vocabulary,
            answers=true_answers(script, fields, facts),
            action_ids=self.action_ids(sample.actions, sample.observation.state),
        )

    def facts_of(self, sample: Sample) -> SceneFacts | None:
        """`facts_of` of this transform's script."""
        return facts_of(self.script, sample, self.unlabelled)

    def action_ids(self, actions: np.ndarray, state: np.ndarray) -> list[int]:
        """Ids of the action tokenizer for canonical actions `[t, a]`, begun at canonical `state`; at least one."""
        if ids := self.vocabulary.action.encode(self.inputs.normalizer.actions(actions, state)):
            return ids
        raise ValueError(
            "The action tokenizer wrote no ids for a chunk: a policy trained on that learns no motion. Fit it anew "
            "(`scripts/fit_tokenizers.py`)."
        )

    def _pad(self, rendered: Rendered) -> dict[str, np.ndarray]:
        tokens = rendered.tokens
        at = np.flatnonzero(tokens.supervised)
        if len(tokens) > self.max_token_len or len(at) > self.max_supervised:
            raise ValueError(
                f"A dialogue has {len(tokens)} ids of which {len(at)} are supervised; the config allows "
                f"max_token_len={self.max_token_len} and max_supervised={self.max_supervised}. Raise them "
                "(`--data.max-token-len`, `--data.max-supervised`); nothing is cut."
            )
        kinds = np.array([TARGET_ACTION if p.kind is Kind.ACTION else TARGET_ANSWER for p in rendered.pieces], np.int8)
        row = {
            "ids": np.zeros(self.max_token_len, np.int32),
            "valid": np.arange(self.max_token_len) < len(tokens),
            "block": np.full(self.max_token_len, tokens.block[-1] + 1, np.int32),
            "target_at": np.zeros(self.max_supervised, np.int32),
            "target_weight": np.zeros(self.max_supervised, np.float32),
            "target_kind": np.zeros(self.max_supervised, np.int8),
        }
        row["ids"][: len(tokens)], row["block"][: len(tokens)] = tokens.ids, tokens.block
        row["target_at"][: len(at)] = at
        row["target_weight"][: len(at)] = tokens.weight[at]
        row["target_kind"][: len(at)] = kinds[tokens.segment[at]]
        return row
