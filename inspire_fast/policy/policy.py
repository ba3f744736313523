"""The policy: a native observation in, answers and an action chunk out."""

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
from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk, Answer, Status
from inspire_fast.data.training_transform import ModelInput
from inspire_fast.dialogue.grounding.registry import GROUNDINGS
from inspire_fast.dialogue.render import PromptFields
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.models.config import DType
from inspire_fast.models.inference.build import Weights, build
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.policy.answer_cache import RecentAnswers, Said
from inspire_fast.policy.decoder import Decoded, Decoder
from inspire_fast.policy.openpi_decoder import OpenpiDecoder
from inspire_fast.robots import ROBOTS

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
        weights: what the language model's matrices are held in, see `models.inference.build.build`; None is the dtype that the
            parameters were loaded in.
        activations: what is computed in; None is the network's own dtype on an accelerator, float32 on a CPU.
        speculate: draft each call's answers from the last call's.
    """

    weights: Weights | None = None
    activations: DType | None = None
    speculate: bool = True


@dataclass(frozen=True, kw_only=True)
class _Given:
    """Answers of one request that are not the model's to choose (`forced`, perhaps `kept` from earlier), or drafted."""

    forced: tuple[str, ...] | None = None
    draft: tuple[str, ...] | None = None
    kept: Said | None = None


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """One observation, checked and ready for the network.

    Attributes:
        options: what was asked for.
        fields: instruction, normalised state, targets.
        state: canonical, in the robot's units.
        images: camera -> uint8 `[h, w, 3]` as the network sees it.
        prepare_ms: how long that took.
    """

    options: RequestOptions
    fields: PromptFields
    state: np.ndarray
    images: Mapping[str, np.ndarray]
    prepare_ms: float


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
        """See `Policy.metadata`."""
        return {
            "checkpoint": self.checkpoint,
            "robot": self.robot.name,
            "script": self.script.name,
            "questions": {q.name: q.parameters() for q in self.script.questions},
            "answers": {q.name: list(q.answers) for q in self.script.questions},
            "action_horizon": self.contract.horizon,
            "action_dim": self.robot.action_dim,
            "cameras": sorted(self.robot.cameras),
            "state_key": self.robot.state_key,
            "state_keys": dict(self.robot.state_keys),
            "image_orientation": self.contract.image_orientation,
            "package_version": self.contract.package_version,
        }

    def infer(self, observation: Mapping[str, Any], options: RequestOptions | None = None) -> ActionChunk:
        """See `Policy.infer`."""
        return self.infer_batch([observation], [options or RequestOptions()])[0]

    def infer_batch(
        self, observations: Sequence[Mapping[str, Any]], options: Sequence[RequestOptions]
    ) -> list[ActionChunk]:
        """Answers several observations in one call. Rows may differ in everything, and none depends on the others.

        Raises:
            ValueError: an observation breaks the contract, or answers do not fit the questions.
        """
        return self.infer_prepared([self.prepare(o, r) for o, r in zip(observations, options, strict=True)])

    def prepare(self, observation: Mapping[str, Any], options: RequestOptions) -> Prepared:
        """See `core.policy.BatchPolicy.prepare`."""
        start = time.perf_counter()
        canonical = self.robot.canonical(observation)
        fields = self._prompt_fields(canonical, options)
        self.decoder.check(fields, options.answers if options.mode == "force" else None)
        images = self.inputs.images(canonical)
        return Prepared(
            options=options,
            fields=fields,
            state=canonical.state,
            images=images,
            prepare_ms=1e3 * (time.perf_counter() - start),
        )

    def infer_prepared(self, prepared: Sequence[Prepared]) -> list[ActionChunk]:
        """See `core.policy.BatchPolicy.infer_prepared`."""
        if isinstance(self.decoder, OpenpiDecoder) and len(prepared) > 1:  # upstream has one seed per call
            return [chunk for row in prepared for chunk in self.infer_prepared([row])]
        start = time.perf_counter()
        options, prompts = [row.options for row in prepared], [row.fields for row in prepared]
        given = [self._given(row.fields, row.options) for row in prepared]
        decoded = self.decoder.decode(
            {camera: np.stack([row.images[camera] for row in prepared]) for camera in self.decoder.cameras},
            {camera: np.ones(len(prompts), bool) for camera in self.inputs.cameras},
            prompts,
            forced=[one.forced for one in given],
            drafts=[one.draft for one in given],
            temperature=[o.temperature for o in options],
            top_k=[o.top_k for o in options],
            seed=[o.seed for o in options],
        )
        infer_ms = 1e3 * (time.perf_counter() - start)
        chunks = []
        for row, said, one in zip(prepared, decoded, given, strict=True):
            timing = {"prepare_ms": row.prepare_ms, "infer_ms": infer_ms}
            chunks.append(
                self._chunk(self._remember(said, row.fields, one, row.options), row.fields, row.state, timing)
            )
        return chunks

    def _given(self, fields: PromptFields, options: RequestOptions) -> _Given:
        """What stands in place of the model's answers, or is drafted for them."""
        if options.mode == "force":
            return _Given(forced=tuple(options.answers or ()))
        if not fields.targets or not self.script.questions:
            return _Given()
        kept = self.recent.kept(options.session, fields.targets, options.reask_every)
        if kept is not None:
            return _Given(forced=kept.answers, kept=kept)
        return _Given(draft=self.recent.draft(options.session, fields.targets) if self.serving.speculate else None)

    def _remember(self, row: Decoded, fields: PromptFields, given: _Given, options: RequestOptions) -> Decoded:
        """Keeps what was answered for later calls; kept answers are reported with the probability they were given with."""
        if given.kept is not None:
            self.recent.used(options.session, fields.targets)
            return replace(row, answer_probabilities=given.kept.probabilities)
        if row.answers and given.forced is None:
            self.recent.asked(options.session, fields.targets, row.answers, row.answer_probabilities)
        return row

    def warm_up(self, prompts: Sequence[str] = WARM_UP_PROMPTS, *, rows: Sequence[int] = (1,)) -> int:
        """Compiles what calls with such prompts need, in every state of the robot; returns the number of programs.

        A call whose prompt is of another length class than any of these waits for a compilation (seconds to a minute), once.

        Raises:
            ValueError: a prompt whose targets cannot be told.
        """
        if isinstance(self.decoder, OpenpiDecoder):
            self.infer({**self.robot.fake_native(), "prompt": prompts[0]})
            return 1
        observation = self.robot.canonical(self.robot.fake_native())
        wanted = [self._prompt_fields(replace(observation, prompt=prompt), RequestOptions()) for prompt in prompts]
        if self.script.questions:  # and the call that skips them
            wanted.append(replace(min(wanted, key=lambda fields: len(fields.instruction)), targets=()))
        drafts = (lambda fields: self.recent.draft("", fields.targets)) if self.serving.speculate else (lambda _: None)
        return self.decoder.warm_up(wanted, rows=rows, drafts=drafts)

    def _prompt_fields(self, observation: Any, options: RequestOptions) -> PromptFields:
        targets = options.targets
        if not self.script.questions or options.mode == "skip":
            targets = ()
        elif targets is None:
            targets = GROUNDINGS[self.script.grounding].ground(observation.prompt)
        return self.inputs.prompt_fields(observation, self.script.asked(tuple(targets)))

    def answers(self, decoded: Decoded, fields: PromptFields) -> tuple[Answer, ...]:
        """The decoded answers with their questions and targets, in the order in which they were asked."""
        asked = [(question.name, target) for target in fields.targets for question in self.script.questions]
        return tuple(
            Answer(question=question, target=target, answer=answer, probability=probability)
            for (question, target), answer, probability in zip(
                asked, decoded.answers, decoded.answer_probabilities, strict=True
            )
        )

    def canonical_actions(self, decoded: Decoded, state: np.ndarray) -> np.ndarray:
        """The decoded chunk `[t, a]` in native units and canonical order; `state` is the observation's."""
        ids = list(decoded.action_ids)
        normalised = self.vocabulary.action.decode(ids, self.contract.horizon, self.robot.action_dim)
        return self.inputs.normalizer.canonical_actions(normalised, state)

    def _chunk(
        self, decoded: Decoded, fields: PromptFields, state: np.ndarray, timing: Mapping[str, float]
    ) -> ActionChunk:
        answers = self.answers(decoded, fields)
        if decoded.problem:
            return ActionChunk(
                actions=None, answers=answers, status=Status.HELD, reason=decoded.problem, timing_ms=timing
            )
        try:
            actions = self.canonical_actions(decoded, state)
            return ActionChunk(actions=self.robot.native_actions(actions), answers=answers, timing_ms=timing)
        except ValueError as error:  # cannot happen under the grammar; if it does, the robot holds and says why
            return ActionChunk(actions=None, answers=answers, status=Status.HELD, reason=str(error), timing_ms=timing)
