"""A policy with a trained network: native observation in, answers and an action chunk out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
import time
from typing import Any

from flax import nnx
import jax
import numpy as np

from inspire_fast.checkpoints.contract import Contract
from inspire_fast.checkpoints.reading import find_step, identity, load_model
from inspire_fast.core.episode import marked
from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk, Answer, Observation, Status
from inspire_fast.data.training_transform import ModelInput
from inspire_fast.dialogue.grounding.registry import GROUNDINGS
from inspire_fast.dialogue.render import PromptFields, nothing_of_the_scene
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.models.config import DType
from inspire_fast.models.inference.build import Weights, build
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.policy.answer_cache import CachedAnswers, RecentAnswers
from inspire_fast.policy.batching import Row
from inspire_fast.policy.decoder import Decoded, Decoder
from inspire_fast.policy.openpi_decoder import OpenpiDecoder
from inspire_fast.robots import ROBOTS
from inspire_fast.robots.control.identity import robot_metadata
from inspire_fast.tokenizers.action import StepwiseTokenizer

WARM_UP_PROMPTS = (
    "open the drawer",
    "put the black bowl on the plate",
    "put both the alphabet soup and the tomato sauce in the basket",
)
"""One to three targets, in instructions as long as LIBERO's."""


@dataclass(frozen=True, kw_only=True)
class ServingOptions:
    """How a policy is run; what it says does not depend on it, but for rounding.

    Attributes:
        weights: what the language model's matrices are held in, see `models.inference.build.build`; None is the dtype
            that the parameters were loaded in.
        activations: what is computed in; None is the network's own dtype on an accelerator, float32 on a CPU.
        speculate: draft each call's answers from the last call's.
    """

    weights: Weights | None = None
    activations: DType | None = None
    speculate: bool = True


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """One observation, checked and ready for the network.

    Attributes:
        options: what was asked for.
        fields: instruction, normalised state, targets.
        row: its dialogue, planned.
        state: canonical, in the robot's units.
        images: camera -> uint8 `[h, w, 3]` as the network sees it.
        action_ids: ids that the chunk begins with (`RequestOptions.committed`); None: none are given.
        prepare_ms: how long that took.
    """

    options: RequestOptions
    fields: PromptFields
    row: Row
    state: np.ndarray
    images: Mapping[str, np.ndarray]
    action_ids: tuple[int, ...] | None = None
    prepare_ms: float = 0.0


class InspirePolicy:
    """A trained network with everything its contract names. Implements `inspire_fast.core.policy.BatchPolicy`."""

    def __init__(
        self,
        model: Pi0Fast,
        contract: Contract,
        vocabulary: Vocabulary,
        *,
        checkpoint: str = "",
        serving: ServingOptions | None = None,
        donate: bool = False,
    ) -> None:
        """Lays the network out for decoding; with `donate` its own parameters are freed on the way (see `build`)."""
        self.contract = contract
        self.checkpoint = checkpoint
        self.serving = serving or ServingOptions()
        self.robot = ROBOTS[contract.robot]
        self.script = contract.build_script()
        self.inputs = ModelInput(
            cameras=contract.model.cameras, image_hw=contract.model.image_hw, normalizer=contract.normalizer()
        )
        self.vocabulary = vocabulary
        self.parameters = sum(value.size for value in jax.tree.leaves(nnx.state(model, nnx.Param)))
        self.recent = RecentAnswers(self.script)
        self.decoder = self._build_decoder(model, donate=donate)

    def _build_decoder(self, model: Pi0Fast, *, donate: bool) -> Decoder | OpenpiDecoder:
        shape = {"horizon": self.contract.horizon, "action_dim": self.robot.action_dim}
        if "openpi_decode" in self.contract.compatibility:
            length = self.contract.max_token_len
            return OpenpiDecoder(model, self.script, self.vocabulary, max_token_len=length, **shape)
        served = build(model, weights=self.serving.weights, dtype=self.serving.activations, donate=donate)
        black = np.zeros((*self.contract.model.image_hw, 3), np.uint8)
        absent = {camera: black for camera in self.inputs.cameras if camera not in self.robot.cameras.values()}
        return Decoder(served, self.script, self.vocabulary, constant=absent, **shape)

    @classmethod
    def load(
        cls,
        checkpoint: str | Path,
        *,
        dtype: DType | None = None,
        base: Path | None = None,
        serving: ServingOptions | None = None,
    ) -> InspirePolicy:
        """Builds the policy from a checkpoint's folder (a step, or a run whose latest step is taken).

        `dtype` and `base`: see `load_model`; by default parameters are held in the dtype of the network's activations.
        """
        step = find_step(Path(checkpoint))
        contract = Contract.read(step / "assets")
        vocabulary = contract.load_vocabulary(step / "assets")
        model = load_model(step, contract.model, dtype=dtype, base=base)
        return cls(model, contract, vocabulary, checkpoint=identity(step), serving=serving, donate=True)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Facts that a client may rely on; see `core.policy.Policy`."""
        return {
            "checkpoint": self.checkpoint,
            **robot_metadata(self.robot),
            "control_hz": self.contract.control_hz or self.robot.control_hz,
            "script": self.script.name,
            "questions": {q.name: q.parameters() for q in self.script.questions},
            "answers": {q.name: list(q.answers) for q in self.script.questions},  # none where they are locations
            "action_horizon": self.contract.horizon,
            "takes_committed": self._stepwise is not None,
            "image_orientation": self.contract.image_orientation,
            "package_version": self.contract.package_version,
        }

    def infer(self, observation: Mapping[str, Any], options: RequestOptions | None = None) -> ActionChunk:
        """Answers one native observation.

        Raises:
            ValueError: the observation breaks the contract, or answers do not fit the questions.
        """
        return self.infer_prepared([self.prepare(observation, marked(options, self.metadata))])[0]

    def infer_batch(
        self, observations: Sequence[Mapping[str, Any]], options: Sequence[RequestOptions]
    ) -> list[ActionChunk]:
        """Answers several observations in one call. Rows may differ in everything, and none depends on the others.

        Raises:
            ValueError: an observation breaks the contract, or answers do not fit the questions.
        """
        return self.infer_prepared([self.prepare(o, r) for o, r in zip(observations, options, strict=True)])

    def prepare(self, observation: Mapping[str, Any], options: RequestOptions) -> Prepared:
        """Checks, resizes and encodes one native observation; see `core.policy.BatchPolicy.prepare`."""
        start = time.perf_counter()
        prepared = self.prepare_canonical(self.robot.canonical(observation), options)
        return replace(prepared, prepare_ms=1e3 * (time.perf_counter() - start))

    def prepare_canonical(self, observation: Observation, options: RequestOptions) -> Prepared:
        """As `prepare`, of an observation that is canonical already, such as a dataset's."""
        fields = self._prompt_fields(observation, options)
        return Prepared(
            options=options,
            fields=fields,
            row=self.decoder.plan(fields, options.answers if options.mode == "force" else None),
            state=observation.state,
            images=self.inputs.images(observation),
            action_ids=None if options.committed is None else self._committed_ids(options.committed, observation.state),
        )

    def decode(self, prepared: Sequence[Prepared]) -> list[Decoded]:
        """Fills the dialogues of several observations; answers of earlier calls play no part."""
        images = {camera: np.stack([one.images[camera] for one in prepared]) for camera in self.decoder.cameras}
        rows, options = [one.row for one in prepared], [one.options for one in prepared]
        if isinstance(self.decoder, OpenpiDecoder):
            return self.decoder.decode(images, rows, options)
        return self.decoder.decode(images, rows, options, actions=[one.action_ids for one in prepared])

    def infer_prepared(self, prepared: Sequence[Prepared]) -> list[ActionChunk]:
        """Answers several prepared observations in one call; see `core.policy.BatchPolicy.infer_prepared`."""
        start = time.perf_counter()
        kept = [self._kept(one) for one in prepared]
        decoded = self.decode([self._with_answers(*pair) for pair in zip(prepared, kept, strict=True)])
        infer_ms = 1e3 * (time.perf_counter() - start)
        return [
            self._chunk(self._remember(row, one, cached), one, infer_ms)
            for row, one, cached in zip(decoded, prepared, kept, strict=True)
        ]

    def answers_of(self, decoded: Decoded, prepared: Prepared) -> tuple[Answer, ...]:
        """A row's answers with the questions and targets that they are about."""
        given = zip(decoded.answers, decoded.answer_probabilities, strict=True)
        return tuple(
            Answer(question=question.name, target=target, answer=answer, probability=probability)
            for (question, target), (answer, probability) in zip(prepared.row.asked, given, strict=True)
        )

    def canonical_actions(self, decoded: Decoded, state: np.ndarray) -> np.ndarray:
        """A row's chunk, float32 `[t, a]`, canonical, in the robot's units; `state` is the observation's, likewise.

        Raises:
            ValueError: the row has no chunk, or its ids are none.
        """
        if decoded.problem:
            raise ValueError(decoded.problem)
        shape = self.contract.horizon, self.robot.action_dim
        return self.inputs.normalizer.canonical_actions(
            self.vocabulary.action.decode(list(decoded.action_ids), *shape), state
        )

    @property
    def _stepwise(self) -> StepwiseTokenizer | None:
        """The action tokenizer, if a chunk's first actions can be given; else None."""
        action = self.vocabulary.action
        able = self.script.acts and isinstance(self.decoder, Decoder)
        return action if able and isinstance(action, StepwiseTokenizer) else None

    def _committed_ids(self, committed: Sequence[Sequence[float]], state: np.ndarray) -> tuple[int, ...]:
        if self._stepwise is None:
            raise ValueError(
                "This policy cannot continue committed actions: its actions are not written step by step. Train with "
                "--tokenizers.action bins, or choose an execution that commits nothing ('prefetch', 'projected')."
            )
        if len(committed) >= self.contract.horizon:
            raise ValueError(
                f"{len(committed)} committed actions leave nothing of a chunk of {self.contract.horizon} to decode."
            )
        actions = self.robot.canonical_actions(np.array(committed, np.float32))
        return tuple(self._stepwise.prefix(self.inputs.normalizer.actions(actions, state)))

    def _kept(self, prepared: Prepared) -> CachedAnswers | None:
        """Answers of an earlier call that are used again in place of asking, where the request allows it."""
        options, targets = prepared.options, prepared.fields.targets
        if options.mode == "force" or not prepared.row.blanks:
            return None
        return self.recent.kept(options.memory_key, targets, options.reask_every)

    def _with_answers(self, prepared: Prepared, kept: CachedAnswers | None) -> Prepared:
        """The request with kept answers in its prompt, or with a draft of the model's."""
        options, targets = prepared.options, prepared.fields.targets
        if kept is not None:
            return replace(prepared, row=prepared.row.with_answers(kept.answers, trusted=True))
        if options.mode == "force" or not prepared.row.blanks or not self.serving.speculate:
            return prepared
        draft = self.recent.draft(options.memory_key, targets)
        return replace(prepared, row=prepared.row.with_answers(draft, trusted=False))

    def _remember(self, row: Decoded, prepared: Prepared, kept: CachedAnswers | None) -> Decoded:
        """Stores the model's answers for later calls; kept answers are reported with their first probability."""
        options, targets = prepared.options, prepared.fields.targets
        if kept is not None:
            self.recent.used(options.memory_key, targets)
            return replace(row, answer_probabilities=kept.probabilities)
        if row.answers and options.mode != "force":
            self.recent.asked(options.memory_key, targets, row.answers, row.answer_probabilities)
        return row

    def warm_up(self, prompts: Sequence[str] = WARM_UP_PROMPTS, *, rows: Sequence[int] = (1,)) -> int:
        """Compiles what calls with such prompts need, whatever the robot's state and the answers are.

        Returns the number of programs. A call whose prompt is longer, or asks more, than any of these waits for a
        compilation (seconds to a minute), once.

        Raises:
            ValueError: a prompt whose targets cannot be told.
        """
        observation = self.robot.canonical(self.robot.fake_native())
        wanted = [self._prompt_fields(replace(observation, prompt=prompt), RequestOptions()) for prompt in prompts]
        if self.script.questions:  # and the call that skips them
            shortest = min(wanted, key=lambda fields: len(fields.instruction))
            wanted.append(replace(shortest, targets=(), left_out=nothing_of_the_scene(self.script)))
        return self.decoder.warm_up(wanted, rows=rows, speculate=self.serving.speculate)

    def _prompt_fields(self, observation: Observation, options: RequestOptions) -> PromptFields:
        targets, script = options.targets, self.script
        if options.mode == "skip" or not script.asks_about_targets:
            targets = ()
        elif targets is None:
            targets = GROUNDINGS[script.grounding].ground(observation.prompt)
        left_out = nothing_of_the_scene(script) if options.mode == "skip" else frozenset[tuple[str, str]]()
        return self.inputs.prompt_fields(observation, script.asked(tuple(targets)), left_out)

    def _chunk(self, decoded: Decoded, prepared: Prepared, infer_ms: float) -> ActionChunk:
        answers = self.answers_of(decoded, prepared)
        if not self.script.acts:
            decoded = replace(decoded, problem=f"script {self.script.name!r} answers and does not act")
        timing = {"prepare_ms": prepared.prepare_ms, "infer_ms": infer_ms}
        try:
            actions = self.robot.native_actions(self.canonical_actions(decoded, prepared.state))
            return ActionChunk(actions=actions, answers=answers, timing_ms=timing)
        except ValueError as error:  # under the grammar this cannot happen; if it does, the robot holds and learns why
            return ActionChunk(actions=None, answers=answers, status=Status.HELD, reason=str(error), timing_ms=timing)
