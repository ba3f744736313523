"""The paper's protocol: trained on the 90 short tasks of LIBERO-90, evaluated on all five suites (seen and unseen).

Launch: uv run scripts/train.py inspire_libero_90 --data.root <LeRobot dataset with labels> --exp-name first
Before: `uv run scripts/compute_norm_stats.py inspire_libero_90` with the same `--data.root`. The text tokenizer is
PaliGemma's and the action tokenizer openpi's FAST, both from their caches.
Hardware: full fine-tuning of 2.9B parameters with float32 masters, AdamW and EMA needs 46 GB for the state alone:
8 GPUs of 80 GB with `--mesh.fsdp 8`, or 4 with `--mesh.fsdp 4`. By the compiler, 56.9 GiB on one H200 and 10.6 GiB on
each of eight (`docs/scaling.md`); not measured on a GPU yet.
Expect: evaluation with 10 trials per task. Not reproduced here.
"""

from pathlib import Path

from inspire_fast.models.config import GEMMA_2B
from inspire_fast.training.config import DataConfig, TokenizersConfig, TrainConfig

CONFIG = TrainConfig(
    name="inspire_libero_90",
    model=GEMMA_2B,
    init_from=Path("checkpoints/pi0_fast_base"),
    tokenizers=TokenizersConfig(text="paligemma", action_parameters={"processor": "physical-intelligence/fast"}),
    data=DataConfig(root=Path("data/libero_90"), horizon=5, max_token_len=220),
    batch_size=32,
    steps=30_000,
)
