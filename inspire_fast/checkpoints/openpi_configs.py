"""Named configs of openpi and of the InSpire-FAST release, whose checkpoints are pi0-FAST networks.

Such a checkpoint holds only parameters and normalisation statistics: the meaning of its numbers is in the config that
it was trained with. These are the facts of each config, from openpi at the revision that third_party/openpi names
(`training/config.py`, `training/misc/roboarena_config.py`) and from InSpire-FAST's release of May 2025.

Two of RoboArena's autoregressive configs are left out, because their checkpoints write other actions than FAST's:
`paligemma_binning_droid` (openpi's `BinningTokenizer`, one id per dimension and step) and `paligemma_vq_droid` (its
`FSQTokenizer`, codes of a learned network that this package does not have). `pi0_fast_base` is not a config but the
parameters that all of these started from: start a training from it (`init_from`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from inspire_fast.core.ranges import Count, Natural, require_ranges
from inspire_fast.core.registry import Registry
from inspire_fast.tokenizers.fast.processor import REPO_ID

_SIX_OF_SEVEN = (True,) * 6 + (False,)
_SEVEN_OF_EIGHT = (True,) * 7 + (False,)
_INSPIRE = {"grasped": "catch"}  # the word that the release was trained with


@dataclass(frozen=True, kw_only=True)
class OpenpiConfig:
    """What one config says about its checkpoints.

    Attributes:
        robot: our name of the embodiment: its keys, cameras, units and image orientation.
        horizon: actions per chunk.
        max_token_len: text ids that upstream pads to, and cuts at.
        asset_id: folder of `norm_stats.json` below the checkpoint's `assets`.
        action_tokenizer: the FAST processor that it was trained with: a repository of the Hugging Face hub, or a
            folder.
        preset: our name of the architecture.
        delta: see `Normalizer.delta`; the checkpoint was trained with it, whether or not it helped.
        script: our name of the prompt's layout.
        question_parameters: of the script's question, in addition to the robot's axes.
        vocab_skip: see `Vocabulary`; upstream leaves the last 128 of PaliGemma's ids alone.
        compatibility: names of `COMPATIBILITY` without which the checkpoint would read text that it was not trained on.
        address: of the published checkpoint; empty where there is none.
    """

    robot: str
    horizon: Count
    max_token_len: Count
    asset_id: str
    action_tokenizer: str = REPO_ID
    preset: str = "gemma_2b"
    delta: tuple[bool, ...] = ()
    script: str = "pi0_fast"
    question_parameters: Mapping[str, Any] = field(default_factory=dict)
    vocab_skip: Natural = 128
    compatibility: tuple[str, ...] = ()
    address: str = ""

    def __post_init__(self) -> None:
        require_ranges(self)


_PUBLISHED = "gs://openpi-assets/checkpoints"
_LIBERO = {
    "robot": "libero",
    "horizon": 10,
    "max_token_len": 180,
    "asset_id": "physical-intelligence/libero",
    # Upstream's `extra_delta_transform=True`: LIBERO's actions are deltas already, and these weights expect this one,
    # too.
    "delta": _SIX_OF_SEVEN,
}
_ROBOARENA = {"robot": "droid", "horizon": 15, "max_token_len": 250, "asset_id": "droid"}
_INSPIRE_LIBERO = {"robot": "libero_front", "horizon": 5, "asset_id": "repo_id/libero_90"}
_INSPIRE_ARM = {"robot": "inspire_arm", "horizon": 5, "asset_id": "repo_id/real", "delta": _SIX_OF_SEVEN}

OPENPI_CONFIGS: Registry[OpenpiConfig] = Registry(
    "openpi config",
    {
        "pi0_fast_droid": OpenpiConfig(
            robot="droid", horizon=10, max_token_len=250, asset_id="droid", address=f"{_PUBLISHED}/pi0_fast_droid"
        ),
        "pi0_fast_libero": OpenpiConfig(**_LIBERO, address=f"{_PUBLISHED}/pi0_fast_libero"),
        "pi0_fast_libero_low_mem_finetune": OpenpiConfig(**_LIBERO, preset="gemma_2b_lora"),
        "pi0_fast_full_droid_finetune": OpenpiConfig(
            robot="droid_joint_position", horizon=16, max_token_len=180, asset_id="droid", delta=_SEVEN_OF_EIGHT
        ),
        # Trained from PaliGemma for RoboArena; the specialist's FAST tokenizer was fitted on DROID: the shared one
        # would read its ids as other actions.
        "paligemma_fast_droid": OpenpiConfig(**_ROBOARENA, address=f"{_PUBLISHED}/roboarena/paligemma_fast_droid"),
        "paligemma_fast_specialist_droid": OpenpiConfig(
            **_ROBOARENA,
            action_tokenizer="KarlP/fast_droid_specialist",
            address=f"{_PUBLISHED}/roboarena/paligemma_fast_specialist_droid",
        ),
        # InSpire-FAST. Its first and third are called `pi0_fast_libero` and `pi0_fast_real` there.
        "inspire_pi0_fast_libero": OpenpiConfig(**_INSPIRE_LIBERO, max_token_len=180),
        "pi0_fast_vqa_libero": OpenpiConfig(
            **_INSPIRE_LIBERO,
            max_token_len=220,
            script="inspire",
            question_parameters=_INSPIRE,
            compatibility=("inspire_released",),
        ),
        # The release's list of phrases is LIBERO's: the arm's targets are found as in any instruction.
        "inspire_pi0_fast_real": OpenpiConfig(**_INSPIRE_ARM, max_token_len=180),
        "pi0_fast_vqa_real": OpenpiConfig(
            **_INSPIRE_ARM, max_token_len=220, script="inspire", question_parameters=_INSPIRE
        ),
    },
)
