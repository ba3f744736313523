"""ST4VLA's first stage on LIBERO, full size: PaliGemma learns points, boxes and paths before it ever acts.

Launch: uv run scripts/train.py st4vla_ground_libero --data.root <LeRobot dataset with boxes and traces>
Before: `uv run scripts/compute_norm_stats.py` and `uv run scripts/fit_tokenizers.py` with the same name and
`--data.root`, and PaliGemma's `pt_224.npz` at the place below. Actions will have the ids below PaliGemma's locations
(`vocab_skip=1152`), so that no location is overwritten in the second stage, `st4vla_libero`.
Hardware: as `inspire_libero`. Not measured yet.
"""

from pathlib import Path

from inspire_fast.models.config import GEMMA_2B
from inspire_fast.training.config import DataConfig, DialogueConfig, EvaluationConfig, TokenizersConfig, TrainConfig

CONFIG = TrainConfig(
    name="st4vla_ground_libero",
    dialogue=DialogueConfig(script="ground", questions=("point", "box", "trace"), max_targets=2),
    model=GEMMA_2B,
    init_from=Path("checkpoints/pt_224.npz"),
    tokenizers=TokenizersConfig(
        text="paligemma", action_parameters={"processor": "physical-intelligence/fast"}, vocab_skip=1152
    ),
    data=DataConfig(root=Path("data/libero"), horizon=10, max_token_len=256, unlabelled="ask_known"),
    batch_size=32,
    steps=10_000,
    evaluation=EvaluationConfig(decode_samples=128),
)
