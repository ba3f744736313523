"""InSpire on DROID (Franka, joint velocities): labels by hindsight, because it has no annotations.

Launch::

    uv run scripts/convert_dataset.py rlds --source <RLDS dataset> --root data/droid
    uv run scripts/label_dataset.py hindsight --root data/droid --robot droid
    uv run scripts/compute_norm_stats.py inspire_droid
    uv run scripts/train.py inspire_droid --exp-name first

The conversion keeps the end effector's position (`cartesian_position`), which the labels are made from and the policy
does not see. A LeRobot dataset of DROID without it needs annotations.
Hardware: full fine-tuning of 2.9B parameters with float32 masters, AdamW and EMA needs 46 GB for the state alone:
8 GPUs of 80 GB with `--mesh.fsdp 8`, or 4 with `--mesh.fsdp 4`. Not measured yet.
Expect: frames that hindsight refuses train without questions. Not measured yet.
"""

from pathlib import Path

from inspire_fast.models.config import GEMMA_2B
from inspire_fast.training.config import DataConfig, TokenizersConfig, TrainConfig

CONFIG = TrainConfig(
    name="inspire_droid",
    robot="droid",
    asset_id="droid",
    model=GEMMA_2B,
    init_from=Path("checkpoints/pi0_fast_base"),
    tokenizers=TokenizersConfig(text="paligemma", action_parameters={"processor": "physical-intelligence/fast"}),
    data=DataConfig(root=Path("data/droid"), horizon=10, max_token_len=220, unlabelled="ask_nothing"),
    batch_size=32,
    steps=30_000,
)
