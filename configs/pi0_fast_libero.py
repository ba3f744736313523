"""pi0-FAST on LIBERO as openpi trains it, without questions: the baseline of every InSpire run.

Launch: uv run scripts/train.py pi0_fast_libero --data.root <LeRobot dataset> --exp-name first
Before: `uv run scripts/compute_norm_stats.py pi0_fast_libero` with the same `--data.root`. The text tokenizer is
PaliGemma's and the action tokenizer openpi's FAST, both from their caches.
Hardware: full fine-tuning of 2.9B parameters with float32 masters, AdamW and EMA needs 46 GB for the state alone:
8 GPUs of 80 GB with `--mesh.fsdp 8`, or 4 with `--mesh.fsdp 4`. Not measured yet.
Expect: openpi reports its pi0-FAST at 96.4 / 96.8 / 88.6 / 60.2 % on spatial / object / goal / 10. Not reproduced here.
Differs from openpi's config of this name: actions of LIBERO are deltas already and are not made deltas again.
"""

from pathlib import Path

from inspire_fast.models.config import GEMMA_2B
from inspire_fast.training.config import DataConfig, DialogueConfig, TokenizersConfig, TrainConfig

CONFIG = TrainConfig(
    name="pi0_fast_libero",
    dialogue=DialogueConfig(script="pi0_fast", questions=()),
    model=GEMMA_2B,
    init_from=Path("checkpoints/pi0_fast_base"),
    tokenizers=TokenizersConfig(text="paligemma", action_parameters={"processor": "physical-intelligence/fast"}),
    data=DataConfig(root=Path("data/libero"), horizon=10, max_token_len=180),
    batch_size=32,
    steps=30_000,
)
