"""InSpire on LIBERO with LoRA on the language model; the image tower trains in full, as in openpi's low-memory configs.

Launch: uv run scripts/train.py inspire_libero_low_mem --data.root <LeRobot dataset with labels> --exp-name first
Before: `uv run scripts/compute_norm_stats.py inspire_libero_low_mem` with the same `--data.root`. The text tokenizer is
PaliGemma's and the action tokenizer openpi's FAST, both from their caches.
Hardware: one GPU with 24 GB: 16.1 GiB by the compiler of an H200 (`docs/scaling.md`), of which JAX must be given enough
(`XLA_PYTHON_CLIENT_MEM_FRACTION=0.9`); `--grad-accum-steps 4` needs less. Not measured on a GPU yet.
Expect: no EMA is kept (openpi's choice for LoRA). Not reproduced here.
"""

from pathlib import Path

from inspire_fast.models.config import GEMMA_2B_LORA
from inspire_fast.models.freeze import FreezeConfig
from inspire_fast.training.config import DataConfig, OptimizerConfig, TokenizersConfig, TrainConfig

CONFIG = TrainConfig(
    name="inspire_libero_low_mem",
    model=GEMMA_2B_LORA,
    freeze=FreezeConfig(what="language"),
    optimizer=OptimizerConfig(ema_decay=None),
    init_from=Path("checkpoints/pi0_fast_base"),
    tokenizers=TokenizersConfig(text="paligemma", action_parameters={"processor": "physical-intelligence/fast"}),
    data=DataConfig(root=Path("data/libero"), horizon=5, max_token_len=220),
    batch_size=32,
    steps=30_000,
)
