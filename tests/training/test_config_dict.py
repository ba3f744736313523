"""Training configs as ConfigDicts: there and back, sweeps, config files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
import pytest

from inspire_fast.training.config import TrainConfig
from inspire_fast.training.config_dict import from_config_dict, to_config_dict
from inspire_fast.training.dataset_config import DataPart
from inspire_fast.training.named_configs import config_names, load_config


@pytest.mark.parametrize("name", config_names())
def test_every_config_survives_the_way_there_and_back(name: str) -> None:
    config = load_config(name)
    assert from_config_dict(to_config_dict(config)) == config


def test_parts_and_parameters_survive() -> None:
    config = load_config("debug")
    data = replace(
        config.data, root=None, parts=(DataPart(root=Path("a"), weight=2), DataPart(root=Path("b"), weight=1))
    )
    dialogue = replace(config.dialogue, question_parameters={"direction": {"frame": "gripper"}})
    config = replace(config, data=data, dialogue=dialogue)
    assert from_config_dict(to_config_dict(config)) == config


def test_a_sweep_changes_fields() -> None:
    sweep: Any = to_config_dict(load_config("debug"))
    sweep.optimizer.peak_lr = 3e-4
    sweep.data.root = "elsewhere"
    sweep.logging.trackers = ["wandb"]
    config = from_config_dict(sweep)
    assert config.optimizer.peak_lr == 3e-4
    assert config.data.root == Path("elsewhere")
    assert config.logging.trackers == ("wandb",)
    with pytest.raises(TypeError):  # ConfigDicts keep a field's type
        sweep.batch_size = "many"


def test_wrong_fields_are_named() -> None:
    sweep: Any = to_config_dict(load_config("debug"))
    with pytest.raises(KeyError, match=r"field of OptimizerConfig 'peak_rl'. Did you mean 'peak_lr'"):
        from_config_dict(ConfigDict({**sweep, "optimizer": ConfigDict({"peak_rl": 1.0})}))
    with pytest.raises(KeyError, match=r"data.asking is now data.question_dropout"):
        from_config_dict(ConfigDict({**sweep, "data": ConfigDict({"asking": 1.0})}))
    with pytest.raises(ValueError, match=r"missing 1 required keyword-only argument: 'data'"):
        from_config_dict(ConfigDict({"name": "mine"}))
    with pytest.raises(ValueError, match=r"steps must be a whole number, at least 1; got 0"):
        from_config_dict(ConfigDict({**sweep, "steps": 0}))


CONFIG_DICT = """
from ml_collections import ConfigDict

def get_config():
    return ConfigDict({"name": "mine", "data": {"root": "data/mine"}, "optimizer": {"peak_lr": 1e-4}})
"""
TRAIN_CONFIG = """
from dataclasses import replace
from inspire_fast import load_config

def get_config():
    return replace(load_config("debug"), name="mine")
"""


def test_a_file_gives_a_config(tmp_path: Path) -> None:
    path = tmp_path / "sweep.py"
    path.write_text(CONFIG_DICT, encoding="utf-8")
    config = load_config(path)
    assert isinstance(config, TrainConfig)
    assert (config.name, config.data.root, config.optimizer.peak_lr) == ("mine", Path("data/mine"), 1e-4)
    path.write_text(TRAIN_CONFIG, encoding="utf-8")
    assert load_config(str(path)).name == "mine"
    path.write_text("from inspire_fast import load_config\nCONFIG = load_config('debug')\n", encoding="utf-8")
    assert load_config(path) == load_config("debug")
    path.write_text("def get_config():\n    return {}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"must define CONFIG = TrainConfig\(name='sweep'.*got {}"):
        load_config(path)
    for changes, words in (("ema_decay=None", "ema_decay is now optimizer.ema_decay"), ("steqs=1", "argument 'steqs'")):
        path.write_text(TRAIN_CONFIG.replace('name="mine"', changes), encoding="utf-8")
        with pytest.raises((ValueError, TypeError), match=words):
            load_config(path)
    with pytest.raises(KeyError, match=r"no config file .*absent\.py"):
        load_config(tmp_path / "absent.py")
