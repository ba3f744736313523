"""A policy of 1.8M parameters that acts in LIBERO-Object: the recipe of the shipped checkpoint, on two CPU cores.

Launch: uv run scripts/train.py inspire_acting --resume (docs/acting.md has the commands that come before)
Hardware: 2 CPU cores, 4 GiB. Time: about an hour.
"""

from pathlib import Path

from inspire_fast.data.question_dropout import QuestionDropout
from inspire_fast.models.config import TINY
from inspire_fast.training.config import (
    CheckpointConfig,
    DataConfig,
    EvaluationConfig,
    LoggingConfig,
    OptimizerConfig,
    TrainConfig,
)

ROOT = Path("runs/acting")

CONFIG = TrainConfig(
    name="inspire_acting",
    model=TINY,
    data=DataConfig(
        root=ROOT / "object",
        horizon=10,
        held_out_every=20,
        state_noise=0.02,
        max_token_len=176,
        max_supervised=96,
        augmentation="none",
        question_dropout=QuestionDropout(without=0.15, target_dropout=0.1),
    ),
    optimizer=OptimizerConfig(peak_lr=1.2e-3, end_lr=1e-4, warmup_steps=100, weight_decay=1e-4, ema_decay=0.99),
    batch_size=32,
    steps=1_250,
    assets=ROOT / "assets",
    checkpoint=CheckpointConfig(root=ROOT / "checkpoints", every=125, keep=2),
    logging=LoggingConfig(every=20),
    evaluation=EvaluationConfig(every=200, samples=128, decode_every=0),
)
