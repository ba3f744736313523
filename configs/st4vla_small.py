"""ST4VLA's second stage, small: actions behind a spatial prompt, beside the spatial data of the first stage.

Launch: uv run scripts/train.py st4vla_small --init-from runs/st4vla/checkpoints/st4vla_ground_small/default
Before: the first stage, `st4vla_ground_small`, whose text tokenizer this one takes; `uv run
scripts/compute_norm_stats.py` and `uv run scripts/fit_tokenizers.py` with this name.
The control without a spatial prompt: `--dialogue.script pi0_fast`; with a meaningless one:
`--dialogue.script-parameters spatial_prompt padding`. `grounding_kept` in the log is the guard's figure.
Hardware: 2 CPU cores, 4 GiB.
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
    name="st4vla_small",
    dialogue=DialogueConfig(
        script="st4vla",
        questions=("point", "box", "trace"),
        question_parameters={"point": BINS, "box": BINS, "trace": BINS},
        max_targets=2,
    ),
    model=replace(TINY, vocab_size=1152),
    init_from=ROOT / "checkpoints/st4vla_ground_small/default",
    tokenizers=TokenizersConfig(text=str(ROOT / "assets/st4vla_ground_small"), text_vocab_size=896),
    data=DataConfig(
        parts=(
            DataPart(root=ROOT / "dataset", weight=16, name="acting"),
            DataPart(root=ROOT / "wide", weight=4, name="grounding", script="ground", loss_weight=0.4),
        ),
        horizon=10,
        held_out_every=8,
        max_token_len=224,
        max_supervised=96,
        unlabelled="ask_known",
    ),
    optimizer=OptimizerConfig(peak_lr=6e-4, end_lr=1e-4, warmup_steps=100, weight_decay=1e-4, ema_decay=0.99),
    batch_size=40,
    steps=1_000,
    assets=ROOT / "assets",
    checkpoint=CheckpointConfig(root=ROOT / "checkpoints", every=250, keep=2),
    logging=LoggingConfig(every=20),
    evaluation=EvaluationConfig(every=250, samples=80, decode_every=0, decode_samples=64, gradient_parts=True),
)
