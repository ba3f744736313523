"""A tiny policy with random weights for tests and examples: complete, and built in seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from inspire_fast.checkpoints.assets import write_assets
from inspire_fast.checkpoints.contract import Contract, stored_questions
from inspire_fast.checkpoints.params.orbax import write_params
from inspire_fast.dialogue.testing import DIRECTION, tiny_vocabulary
from inspire_fast.models.config import PRESETS, ModelConfig
from inspire_fast.models.openpi.params import to_openpi
from inspire_fast.models.testing import random_model
from inspire_fast.policy.policy import InspirePolicy, ServingOptions
from inspire_fast.robots import ROBOTS
from inspire_fast.tokenizers.action import ActionTokenizer
from inspire_fast.tokenizers.registry import ACTION_TOKENIZERS


def tiny_policy(
    seed: int = 0,
    *,
    robot: str = "libero",
    script: str = "inspire",
    horizon: int = 10,
    one_id_answers: bool = True,
    cameras: tuple[str, ...] = PRESETS["test"].cameras,
    preset: str = "test",
    action: ActionTokenizer | None = None,
    serving: ServingOptions | None = None,
) -> InspirePolicy:
    """A policy with a small network, by default the `test` one, and a robot whose axes have InSpire's words.

    Its action tokenizer is `action`; None: a FAST tokenizer.
    """
    embodiment = ROBOTS[robot]
    vocabulary = tiny_vocabulary(horizon, embodiment.action_dim, one_id_answers=one_id_answers)
    if action is not None:
        vocabulary = replace(vocabulary, action=action)
    config = replace(PRESETS[preset], vocab_size=vocabulary.size, cameras=cameras)
    dims = {"state": embodiment.state_dim, "actions": embodiment.action_dim}
    stats = {key: {"mean": [0.0] * n, "std": [1.0] * n, "q01": [-1.0] * n, "q99": [1.0] * n} for key, n in dims.items()}
    contract = Contract(
        robot=robot,
        script=script,
        questions=stored_questions((replace(DIRECTION, axes=embodiment.axes),)),
        horizon=horizon,
        model=config,
        action_tokenizer=next(
            name for name in ACTION_TOKENIZERS if isinstance(vocabulary.action, ACTION_TOKENIZERS[name])
        ),
        vocab_size=vocabulary.size,
        vocab_skip=vocabulary.skip,
        text_fingerprint=vocabulary.text.fingerprint,
        action_fingerprint=vocabulary.action.fingerprint,
        stats=stats,
        image_orientation=embodiment.image_orientation,
        asset_id="test",
    )
    return InspirePolicy(random_model(config, seed), contract, vocabulary, serving=serving)


def random_params(config: ModelConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """Every parameter of a network, random, under openpi's paths."""
    return {path: np.asarray(value) for path, value in to_openpi(random_model(config, seed)).items()}


def write_checkpoint(policy: InspirePolicy, step: Path) -> Path:
    """A policy as the checkpoint that it could have been loaded from."""
    write_params(step, random_params(policy.contract.model))
    write_assets(step / "assets", policy.contract, policy.vocabulary)
    return step
