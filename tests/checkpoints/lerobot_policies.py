"""Small policies for exchange with LeRobot: the network of `data/lerobot_pi0_fast`, the tiny vocabulary, LIBERO."""

from dataclasses import replace
import json
from pathlib import Path

from inspire_fast.checkpoints.assets import write_assets
from inspire_fast.checkpoints.contract import Contract
from inspire_fast.checkpoints.params.orbax import write_params
from inspire_fast.checkpoints.reading import open_params
from inspire_fast.dialogue.testing import tiny_vocabulary
from inspire_fast.models.config import GemmaConfig, ModelConfig, SiglipConfig
from inspire_fast.policy.testing import tiny_policy

REFERENCE = Path(__file__).parent / "data" / "lerobot_pi0_fast"
SMALL = ModelConfig(
    vision=SiglipConfig(patch=8, width=16, depth=2, mlp_dim=24, heads=2),
    language=GemmaConfig(width=24, depth=2, mlp_dim=40, heads=4, kv_heads=2, head_dim=8),
    vocab_size=512,
    image_hw=(24, 24),
    cameras=("base_0_rgb", "left_wrist_0_rgb"),
    dtype="float32",
    remat="none",
)


def small_contract(script: str = "lerobot_pi0_fast") -> Contract:
    """LeRobot's text; statistics that tell the dimensions apart."""
    stats = {
        key: {
            "mean": [0.1 * i for i in range(n)],
            "std": [1.0 + 0.2 * i for i in range(n)],
            "q01": [-1.0 - 0.1 * i for i in range(n)],
            "q99": [1.0 + 0.3 * i for i in range(n)],
        }
        for key, n in (("state", 8), ("actions", 7))
    }
    parameters = {"state_dim": 0} if script == "lerobot_pi0_fast" else {}
    plain = tiny_policy(script="pi0_fast").contract
    return replace(plain, script=script, script_parameters=parameters, questions=(), model=SMALL, stats=stats)


def small_policy(step: Path, script: str = "lerobot_pi0_fast") -> Path:
    """A checkpoint with LeRobot's parameters."""
    write_params(step, dict(open_params(REFERENCE, model=SMALL).stream()))
    write_assets(step / "assets", small_contract(script), tiny_vocabulary())
    return step


def write_tokenizer(folder: Path) -> None:
    """The tiny text tokenizer, set up as PaliGemma's repository sets its own up."""
    tiny_vocabulary().text.save(folder)
    (folder / "text_tokenizer.model").rename(folder / "tokenizer.model")
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    config = {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "add_eos_token": False, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
