"""Transform of samples to the network's training arrays: normalised, rendered by the one renderer, padded.

Nothing is truncated: a sample that does not fit raises, with the length that would fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from inspire_fast.core.batch import TARGET_ACTION, TARGET_ANSWER
from inspire_fast.core.console import command_line
from inspire_fast.core.types import Observation, Sample, SceneFacts
from inspire_fast.data.images import resize_with_pad
from inspire_fast.data.normalization.normalizer import Normalizer
from inspire_fast.data.picture_facts import moved, padded
from inspire_fast.data.placement import Placement
from inspire_fast.data.question_dropout import QuestionDropout
from inspire_fast.data.truths import NOTHING, Unlabelled, facts_of, left_out, true_answers
from inspire_fast.dialogue.render import Kind, PromptFields, Rendered, nothing_of_the_scene, render
from inspire_fast.dialogue.script import Script
from inspire_fast.dialogue.vocabulary import Vocabulary


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

    def facts(self, sample: Sample) -> SceneFacts | None:
        """The sample's facts; places in pictures are of the picture as the network sees it."""
        scene = sample.facts
        if scene is None or not (image := self._picture(sample, scene)):
            return scene
        return moved(scene, padded(image, self.image_hw))

    def _picture(self, sample: Sample, scene: SceneFacts) -> tuple[int, int] | None:
        """Size of the picture that places are in, where the network pads it; None where it keeps its form."""
        image = sample.observation.images.get(scene.camera or self.cameras[0])
        if image is None:
            return None
        h, w = image.shape[:2]
        return (h, w) if h * self.image_hw[1] != w * self.image_hw[0] else None

    def prompt_fields(
        self, observation: Observation, targets: Sequence[str], left_out: frozenset[tuple[str, str]] = NOTHING
    ) -> PromptFields:
        """The dialogue's placeholders, with the state normalised."""
        state = self.normalizer.state(observation.state)
        return PromptFields(instruction=observation.prompt, state=state, targets=tuple(targets), left_out=left_out)


@dataclass(frozen=True, kw_only=True)
class TrainingTransform:
    """`Sample` -> arrays of one `Batch` row; see `Batch` for names and shapes.

    A script that does not act takes samples without actions, too.

    Attributes:
        max_token_len: `l`, text ids per row.
        max_supervised: `k`, supervised ids per row.
        state_noise: standard deviation of noise on the normalised state.
        question_dropout: random choice of a training sample's questions.
        unlabelled: treatment of a frame that lacks facts about a target: "refuse" raises; "ask_nothing" trains its
            actions alone; "ask_known" asks the other questions. Hindsight leaves out uncertain targets, mostly near the
            gripper: with "ask_known" a missing question reveals that.
        placement: crop and rotation of the training pictures, drawn here; see `data.placement`. None: they are not
            moved, or no question is about places in them.
        weight: factor of all loss weights.
    """

    script: Script
    vocabulary: Vocabulary
    inputs: ModelInput
    max_token_len: int
    max_supervised: int
    state_noise: float = 0.0
    question_dropout: QuestionDropout = field(default_factory=QuestionDropout)
    unlabelled: Unlabelled = "refuse"
    placement: Placement | None = None
    weight: float = 1.0

    def __call__(self, sample: Sample, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """One row, with images as `image:<camera>`; raises as `render` does, and if the dialogue does not fit."""
        drawn = None if self.placement is None else self.placement.draw(rng)
        rendered = self.render(sample, rng, drawn)
        images = {f"image:{k}": v for k, v in self.inputs.images(sample.observation).items()}
        return {**images, **self._pad(rendered), **({} if drawn is None else {"placement": drawn})}

    def render(
        self, sample: Sample, rng: np.random.Generator | None = None, placement: np.ndarray | None = None
    ) -> Rendered:
        """The sample's whole dialogue, with every blank filled from recorded facts.

        With `rng` it is as in training: noisy state, dropout of questions. Without, it is complete and exact.

        Args:
            sample: with actions, if the script acts.
            rng: of this use.
            placement: numbers of `Placement.draw`, with which the picture will be cropped and turned.

        Raises:
            ValueError: no actions, or facts missing that the script asks about.
        """
        if sample.actions is None and self.script.acts:
            raise ValueError(f"A training sample of script {self.script.name!r} needs actions.")
        script, facts = self.script, self.facts_of(sample)
        if placement is not None and facts is not None:
            facts = self._placed(facts, placement)
        targets = tuple(t.phrase for t in facts.targets) if facts else ()
        fields = self.prompt_fields(sample.observation, targets, left_out(script, facts))
        if rng is not None:
            if self.state_noise and len(fields.state):
                noise = rng.normal(scale=self.state_noise, size=fields.state.shape)
                fields = replace(fields, state=self.inputs.normalizer.noisy_state(fields.state, noise))
            # A script that asks about the scene alone has the one "target" that there is.
            alone = ("",) if script.scene_questions and not fields.targets else ()
            kept, supervised = self.question_dropout.draw(fields.targets or alone, rng)
            silent = NOTHING if kept else nothing_of_the_scene(script)
            fields = replace(fields, targets=tuple(filter(None, kept)), left_out=fields.left_out | silent)
            script = script if supervised else script.unsupervised()
        acts = script.acts and sample.actions is not None
        return render(
            script,
            fields,
            self.vocabulary,
            answers=true_answers(script, fields, facts),
            action_ids=self.action_ids(sample.actions, sample.observation.state) if acts else None,  # pyright: ignore[reportArgumentType]
        )

    def prompt_fields(
        self, observation: Observation, targets: Sequence[str], left_out: frozenset[tuple[str, str]]
    ) -> PromptFields:
        """As `ModelInput.prompt_fields`; without state where the script does not read it."""
        if self.script.reads_state:
            return self.inputs.prompt_fields(observation, targets, left_out)
        return PromptFields(
            instruction=observation.prompt, state=np.zeros(0), targets=tuple(targets), left_out=left_out
        )

    def _placed(self, facts: SceneFacts, numbers: np.ndarray) -> SceneFacts:
        """The facts in the picture as it will be cropped and turned; wrist cameras are not."""
        if self.placement is None or "wrist" in (facts.camera or ""):
            return facts
        return moved(facts, self.placement.point_map(numbers, self.inputs.image_hw))

    def facts_of(self, sample: Sample) -> SceneFacts | None:
        """`facts_of` of this transform's script, in the picture that the network sees."""
        return facts_of(self.script, replace(sample, facts=self.inputs.facts(sample)), self.unlabelled)

    def action_ids(self, actions: np.ndarray, state: np.ndarray) -> list[int]:
        """Ids of the action tokenizer for canonical actions `[t, a]`, begun at canonical `state`; at least one."""
        if ids := self.vocabulary.action.encode(self.inputs.normalizer.actions(actions, state)):
            return ids
        raise ValueError(
            "The action tokenizer wrote no ids for a chunk: a policy trained on that learns no motion. Fit it anew "
            f"(`{command_line('fit_tokenizers')}`)."
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
        row["target_weight"][: len(at)] = tokens.weight[at] * self.weight
        row["target_kind"][: len(at)] = kinds[tokens.segment[at]]
        return row
