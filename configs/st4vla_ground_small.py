"""ST4VLA's first stage, small: a network of 1.8M parameters learns boxes, points and paths from simulator labels.

Launch: uv run scripts/train.py st4vla_ground_small
Before: the two recordings of docs/st4vla.md; uv run scripts/compute_norm_stats.py and scripts/fit_tokenizers.py.
Hardware: 2 CPU cores, 4 GiB. The second stage is `st4vla_small`. 128 bins are less than a pixel of its 96.
"""

from dataclasses import replace
from pathlib import Path

from inspire_fast.models.config import TINY
from inspire_fast.training.config import (
    CheckpointConfig,
    DataConfig,
    DialogueConfig,
    EvaluationConfig,
    LoggingConfig,
    OptimizerConfig,
    TokenizersConfig,
    TrainConfig,
)
from inspire_fast.training.dataset_config import DataPart

ROOT = Path("runs/st4vla")
BINS = {"bins": 128}

CONFIG = TrainConfig(
    name="st4vla_ground_small",
    dialogue=DialogueConfig(
        script="ground",
        questions=("point", "box", "trace"),
        question_parameters={"point": BINS, "box": BINS, "trace": BINS},
        max_targets=2,
    ),
    model=replace(TINY, vocab_size=1152),
    tokenizers=TokenizersConfig(text_vocab_size=896),
    data=DataConfig(
        parts=(DataPart(root=ROOT / "dataset"), DataPart(root=ROOT / "wide")),
        horizon=10,
        held_out_every=8,
        max_token_len=128,
        max_supervised=40,
        unlabelled="ask_known",
    ),
    optimizer=OptimizerConfig(peak_lr=1.2e-3, end_lr=1e-4, warmup_steps=100, weight_decay=1e-4, ema_decay=0.99),
    batch_size=32,
    steps=900,
    assets=ROOT / "assets",
    checkpoint=CheckpointConfig(root=ROOT / "checkpoints", every=150, keep=2),
    logging=LoggingConfig(every=20),
    evaluation=EvaluationConfig(every=300, samples=64, decode_every=0, decode_samples=64),
)
