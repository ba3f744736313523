"""InSpire on an arm with a single front camera, as in the paper's real-robot experiments (robot `inspire_arm`).

Launch: uv run scripts/train.py inspire_real --data.root <LeRobot dataset with labels> --exp-name first
Before: `uv run scripts/convert_dataset.py inspire ...`, labels with `scripts/label_dataset.py`, then
`uv run scripts/compute_norm_stats.py inspire_real` with the same `--data.root`.
Hardware: full fine-tuning of 2.9B parameters with float32 masters, AdamW and EMA needs 46 GB for the state alone:
8 GPUs of 80 GB with `--mesh.fsdp 8`, or 4 with `--mesh.fsdp 4`. Not measured yet.
Expect: the paper's learning rate without warm-up. Not reproduced here.
"""

from pathlib import Path

from inspire_fast.models.config import GEMMA_2B
from inspire_fast.training.config import DataConfig, OptimizerConfig, TokenizersConfig, TrainConfig

CONFIG = TrainConfig(
    name="inspire_real",
    robot="inspire_arm",
    asset_id="inspire_arm",
    model=GEMMA_2B,
    init_from=Path("checkpoints/pi0_fast_base"),
    tokenizers=TokenizersConfig(text="paligemma", action_parameters={"processor": "physical-intelligence/fast"}),
    data=DataConfig(root=Path("data/inspire_arm"), horizon=5, max_token_len=220),
    optimizer=OptimizerConfig(peak_lr=2.5e-5, end_lr=2.5e-6, warmup_steps=0),
    batch_size=32,
    steps=30_000,
)
