"""The run of `make demo`: a policy of under 2M parameters on scripted LIBERO demonstrations, on two CPU cores.

Launch: make demo (or, with the dataset of the demo in place: uv run scripts/train.py demo --overwrite)
Hardware: 2 CPU cores, under 3 GiB. Time: about 4 minutes.
Expect: answers well above the majority baseline and action errors below predict-the-mean; few or no solved episodes.
"""

from pathlib import Path

from inspire_fast.models.config import TINY
from inspire_fast.training.config import (
    CheckpointConfig,
    DataConfig,
    EvaluationConfig,
    LoggingConfig,
    OptimizerConfig,
    TrainConfig,
)

ROOT = Path("runs/demo")

CONFIG = TrainConfig(
    name="demo",
    model=TINY,
    data=DataConfig(
        root=ROOT / "dataset",
        horizon=10,
        held_out_every=7,
        state_noise=0.02,
        max_token_len=128,
        max_supervised=72,
        augmentation="none",
    ),
    optimizer=OptimizerConfig(peak_lr=1.5e-3, end_lr=3e-4, warmup_steps=30, weight_decay=1e-4, ema_decay=0.98),
    batch_size=16,
    steps=280,
    assets=ROOT / "assets",
    checkpoint=CheckpointConfig(root=ROOT / "checkpoints", every=70, keep=2),
    logging=LoggingConfig(every=10),
    evaluation=EvaluationConfig(
        every=70,
        samples=64,
        decode_every=0,  # the demo decodes held-out samples in a separate stage
    ),
)
