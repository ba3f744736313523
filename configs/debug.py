"""Two steps of a network of a few thousand parameters: an end-to-end check.

Launch: uv run scripts/train.py debug --data.root <dataset> --overwrite
Hardware: any CPU. Time: seconds after compilation. Expect: a checkpoint at step 2; losses without meaning.
"""

from dataclasses import replace
from pathlib import Path

from inspire_fast.models.config import TEST
from inspire_fast.training.config import (
    CheckpointConfig,
    DataConfig,
    EvaluationConfig,
    LoggingConfig,
    OptimizerConfig,
    TrainConfig,
)

CONFIG = TrainConfig(
    name="debug",
    model=replace(TEST, vocab_size=1024),
    data=DataConfig(
        root=Path("runs/demo/dataset"),
        horizon=10,
        held_out_every=4,
        max_token_len=160,
        max_supervised=96,
        augmentation="none",
    ),
    optimizer=OptimizerConfig(peak_lr=1e-3, end_lr=1e-4, warmup_steps=1, ema_decay=None),
    batch_size=4,
    steps=2,
    assets=Path("runs/debug/assets"),
    checkpoint=CheckpointConfig(root=Path("runs/debug/checkpoints"), every=1),
    logging=LoggingConfig(every=1),
    evaluation=EvaluationConfig(every=1, samples=4, decode_every=2, decode_samples=2),
)
