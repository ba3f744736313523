"""`inspire_small_libero` with residual vector quantisation (miniVLA) instead of FAST.

Actions as 8 ids of a chunk, one per code book of 256 codes.
Launch: uv run scripts/train.py inspire_small_vq --data.root <LeRobot dataset with labels> --exp-name first
Before: uv run scripts/compute_norm_stats.py and scripts/fit_tokenizers.py with the same name and --data.root.
Hardware: one GPU with 16 GB or more. Not measured yet.
"""

from pathlib import Path

from inspire_fast.models.config import SMALL
from inspire_fast.training.config import DataConfig, OptimizerConfig, TokenizersConfig, TrainConfig

CONFIG = TrainConfig(
    name="inspire_small_vq",
    model=SMALL,
    data=DataConfig(root=Path("data/libero"), horizon=10, max_token_len=192, max_supervised=128),
    optimizer=OptimizerConfig(peak_lr=3e-4, end_lr=3e-5, warmup_steps=500, weight_decay=1e-4),
    tokenizers=TokenizersConfig(
        action="vq", action_parameters={"stages": 8}, text_vocab_size=2048, action_vocab_size=2048
    ),
    batch_size=64,
    steps=30_000,
)
