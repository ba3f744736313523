"""ST4VLA's second stage on LIBERO, full size: actions behind a spatial prompt, beside the spatial data of the first.

Launch: uv run scripts/train.py st4vla_libero --data.parts <as below, with your folders> --exp-name first
Before: the first stage, `st4vla_ground_libero`; `uv run scripts/compute_norm_stats.py` and `uv run
scripts/fit_tokenizers.py` with this name. Other prompts: `--dialogue.script-parameters spatial_prompt box` (point,
trace, and padding, the control); answers before the actions: `--dialogue.script st4vla_answers
--data.question-dropout.without 0.3 --data.question-dropout.unsupervised 0.2`.
16 rows act and 4 answer; the loss is a mean over rows, so 0.4 gives ST4VLA's 1:10. The log states the ratio.
Hardware: as `inspire_libero`. Not measured yet.
"""

from pathlib import Path

from inspire_fast.models.config import GEMMA_2B
from inspire_fast.training.config import (
    DataConfig,
    DialogueConfig,
    EvaluationConfig,
    TokenizersConfig,
    TrainConfig,
)
from inspire_fast.training.dataset_config import DataPart

ROOT = Path("data/libero")

CONFIG = TrainConfig(
    name="st4vla_libero",
    dialogue=DialogueConfig(script="st4vla", questions=("point", "box", "trace"), max_targets=2),
    model=GEMMA_2B,
    init_from=Path("checkpoints/st4vla_ground_libero/default"),
    tokenizers=TokenizersConfig(
        text="paligemma", action_parameters={"processor": "physical-intelligence/fast"}, vocab_skip=1152
    ),
    data=DataConfig(
        parts=(
            DataPart(root=ROOT, weight=16, name="acting"),
            DataPart(root=ROOT, weight=4, name="grounding", script="ground", loss_weight=0.4),
        ),
        horizon=10,
        max_token_len=256,
        unlabelled="ask_known",
    ),
    batch_size=40,
    steps=30_000,
    evaluation=EvaluationConfig(decode_samples=128, gradient_parts=True),
)
