"""The policy: a native observation in, answers and an action chunk out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
import time
from typing import Any

from flax import nnx
import jax
import numpy as np

from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk, Answer, Status
from inspire_fast.data.render import ModelInput
from inspire_fast.dialogue.groundings import GROUNDINGS
from inspire_fast.dialogue.render import Turn
from inspire_fast.dialogue.script import Script
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.models.config import DType
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.policy.checkpoint import find_step, identity, load_model
from inspire_fast.policy.contract import Contract
from inspire_fast.policy.decoder import Decoded, Decoder
from inspire_fast.policy.openpi_decoder import OpenpiDecoder
from inspire_fast.robots import ROBOTS


class InspirePolicy:
    """A trained network with everything its contract names. Implements `inspire_fast.core.policy.Policy`."""

    def __init__(self, model: Pi0Fast, contract: Contract, vocabulary: Vocabulary, *, checkpoint: str = "") -> None:
        self.contract = contract
        self.checkpoint = checkpoint
        self.robot = ROBOTS[contract.robot]
        self.script = contract.build_script()
        self.inputs = ModelInput(
            cameras=contract.model.cameras, image_hw=contract.model.image_hw, normalizer=contract.normalizer()
        )
        self.vocabulary = vocabulary
        self.decoder = _decoder(model, contract, self.script, vocabulary)

    @classmethod
    def load(cls, checkpoint: Path, *, dtype: DType | None = None, base: Path | None = None) -> InspirePolicy:
        """Builds the policy from a checkpoint's folder (a step, or a run whose latest step is taken).

        `dtype` and `base`: see `load_model`; by default parameters are held in the dtype of the network's activations.
        """
        step = find_step(checkpoint)
        contract = Contract.read(step / "assets")
        vocabulary = contract.load_vocabulary(step / "assets")
        model = load_model(step, contract.model, dtype=dtype, base=base)
        return cls(model, contract, vocabulary, checkpoint=identity(step))

    @property
    def parameters(self) -> int:
        """Number of parameters of the network."""
        return sum(value.size for value in jax.tree.leaves(nnx.state(self.decoder.model, nnx.Param)))

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
        """Answers several observations in one call. Rows may differ in prompt, targets and forced answers.

        Raises:
            ValueError: an observation breaks the contract, or the rows mix temperatures, seeds, or forced and free answers.
        """
        start = time.perf_counter()
        first = options[0]
        if any(
            (o.temperature, o.seed, o.mode == "force") != (first.temperature, first.seed, first.mode == "force")
            for o in options
        ):
            raise ValueError("Rows of one call must share temperature, seed and whether answers are forced.")
        canonical = [self.robot.canonical(native) for native in observations]
        turns = [self._turn(o, r) for o, r in zip(canonical, options, strict=True)]
        images = [self.inputs.images(o) for o in canonical]
        prepared = time.perf_counter()
        decoded = self.decoder.decode(
            {camera: np.stack([row[camera] for row in images]) for camera in self.inputs.cameras},
            {camera: np.ones(len(turns), bool) for camera in self.inputs.cameras},
            turns,
            forced=[list(o.answers or ()) for o in options] if first.mode == "force" else None,
            temperature=first.temperature,
            seed=first.seed,
        )
        done = time.perf_counter()
        timing = {"prepare_ms": 1e3 * (prepared - start), "infer_ms": 1e3 * (done - prepared)}
        return [self._chunk(row, turn, o.state, timing) for row, turn, o in zip(decoded, turns, canonical, strict=True)]

    def warmup_observations(self) -> list[dict[str, Any]]:
        """Native observations that make the programs compile which a control loop needs: one row, one to three targets."""
        prompts = ("open the drawer", "put the block on the plate", "put both the block and the cup on the plate")
        return [{**self.robot.fake_native(), "prompt": prompt} for prompt in prompts]

    def _turn(self, observation: Any, options: RequestOptions) -> Turn:
        targets = options.targets
        if not self.script.questions or options.mode == "skip":
            targets = ()
        elif targets is None:
            targets = GROUNDINGS[self.script.grounding].ground(observation.prompt)
        return self.inputs.turn(observation, self.script.asked(tuple(targets)))

    def _chunk(self, decoded: Decoded, turn: Turn, state: np.ndarray, timing: Mapping[str, float]) -> ActionChunk:
        questions = [q.name for _ in turn.targets for q in self.script.questions]
        targets = [target for target in turn.targets for _ in self.script.questions]
        answers = tuple(
            Answer(question=q, target=t, answer=a, probability=p)
            for q, t, a, p in zip(questions, targets, decoded.answers, decoded.answer_probabilities, strict=True)
        )
        if decoded.problem:
            return ActionChunk(
                actions=None, answers=answers, status=Status.HELD, reason=decoded.problem, timing_ms=timing
            )
        try:
            normalised = self.vocabulary.action.decode(
                list(decoded.action_ids), self.contract.horizon, self.robot.action_dim
            )
            actions = self.inputs.normalizer.canonical_actions(normalised, state)
            return ActionChunk(actions=self.robot.native_actions(actions), answers=answers, timing_ms=timing)
        except ValueError as error:  # cannot happen under the grammar; if it does, the robot holds and says why
            return ActionChunk(actions=None, answers=answers, status=Status.HELD, reason=str(error), timing_ms=timing)


def _decoder(model: Pi0Fast, contract: Contract, script: Script, vocabulary: Vocabulary) -> Decoder | OpenpiDecoder:
    shape = {"horizon": contract.horizon, "action_dim": ROBOTS[contract.robot].action_dim}
    if "openpi_decode" in contract.compatibility:
        return OpenpiDecoder(model, script, vocabulary, max_token_len=contract.max_token_len, **shape)
    return Decoder(model, script, vocabulary, **shape)
