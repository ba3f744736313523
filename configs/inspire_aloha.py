"""InSpire on ALOHA (two arms, 14 joints), half a second of actions per chunk.

Launch::

    uv run scripts/label_dataset.py annotations --file <annotations> --root data/aloha --robot aloha
    uv run scripts/compute_norm_stats.py inspire_aloha
    uv run scripts/train.py inspire_aloha --exp-name first

Labels need annotations (format: `inspire_fast.labeling.annotations`): hindsight knows one gripper, and ALOHA's state
has joint angles only.
Hardware: full fine-tuning of 2.9B parameters with float32 masters, AdamW and EMA needs 46 GB for the state alone:
8 GPUs of 80 GB with `--mesh.fsdp 8`, or 4 with `--mesh.fsdp 4`. Not measured yet.
Expect: chunks of 25 x 14 take more ids than one arm's, hence the longer rows. Not measured yet.
"""

from pathlib import Path

from inspire_fast.models.config import GEMMA_2B
from inspire_fast.training.config import DataConfig, TokenizersConfig, TrainConfig

CONFIG = TrainConfig(
    name="inspire_aloha",
    robot="aloha",
    asset_id="aloha",
    model=GEMMA_2B,
    init_from=Path("checkpoints/pi0_fast_base"),
    tokenizers=TokenizersConfig(text="paligemma", action_parameters={"processor": "physical-intelligence/fast"}),
    data=DataConfig(
        root=Path("data/aloha"), horizon=25, max_token_len=512, max_supervised=320, unlabelled="ask_nothing"
    ),
    batch_size=32,
    steps=30_000,
)
