"""Checkpoints as upstream's command names them: config and folder, address, environment."""

from dataclasses import replace
import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from inspire_fast.checkpoints import importing
from inspire_fast.checkpoints.openpi_configs import OPENPI_CONFIGS
from inspire_fast.checkpoints.params.orbax import write_params
from inspire_fast.core.types import Status
from inspire_fast.data.normalization.stats import NormStats, save_norm_stats
from inspire_fast.dialogue.testing import tiny_vocabulary
from inspire_fast.policy import load
from inspire_fast.policy.load import (
    DEFAULTS,
    PUBLISHED,
    Env,
    Tokenizers,
    default_checkpoint,
    load_policy,
    require_agreement,
)
from inspire_fast.policy.policy import InspirePolicy
from inspire_fast.policy.testing import random_params, tiny_policy, write_checkpoint
from inspire_fast.robots import ROBOTS
from inspire_fast.tokenizers.fast.tokenizer import FastTokenizer
from tests.checkpoints.written import TEST

VOCABULARY = tiny_vocabulary()


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A step as openpi writes it, of a network so small that it stands for Gemma."""
    network = replace(TEST, vocab_size=VOCABULARY.size)
    monkeypatch.setattr(importing, "PRESETS", {"gemma_2b": network})
    step = tmp_path / "run" / "9"
    write_params(step, random_params(network), layout="trained")
    dims = {"state": ROBOTS["libero"].state_dim, "actions": ROBOTS["libero"].action_dim}
    ones = {key: np.ones(n) for key, n in dims.items()}
    stats = {key: NormStats(mean=0 * x, std=x, q01=-x, q99=x) for key, x in ones.items()}
    save_norm_stats(step / "assets" / "physical-intelligence/libero", stats)
    VOCABULARY.text.save(tmp_path)
    assert isinstance(VOCABULARY.action, FastTokenizer)
    VOCABULARY.action.save_processor(tmp_path / "processor")
    config = tmp_path / "processor" / "processor_config.json"
    config.write_text(
        json.dumps(json.loads(config.read_text(encoding="utf-8")) | {"time_horizon": None, "action_dim": None}),
        encoding="utf-8",
    )
    return step


def test_a_checkpoint_of_openpis_is_served_as_it_lies(raw: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    tokenizers = Tokenizers(text=tmp_path, action=str(tmp_path / "processor"))
    policy = load_policy(raw.parent, config="pi0_fast_libero", tokenizers=tokenizers)
    assert sorted(tmp_path.rglob("*")) == before  # what was made to load it is gone
    assert policy.contract.config["imported_from"] == "pi0_fast_libero"
    assert policy.metadata["checkpoint"].startswith("step 9, ")
    chunk = policy.infer(ROBOTS["libero"].fake_native(image_hw=(32, 32)))
    assert chunk.status is Status.OK
    assert chunk.actions.shape == (10, 7)


def test_a_published_checkpoint_is_loaded_by_name_and_by_address(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = PUBLISHED["pi0_fast_libero"]
    copy = tmp_path / "cache" / address.removeprefix("gs://")
    copy.parent.mkdir(parents=True)
    raw.parent.rename(copy)
    imported = []
    monkeypatch.setattr(load, "import_checkpoint", lambda step, config, _, **__: imported.append((step, config)))
    monkeypatch.setattr(InspirePolicy, "load", lambda *_, **__: None)
    load_policy("pi0_fast_libero", cache_dir=tmp_path / "cache")
    load_policy(address, cache_dir=tmp_path / "cache")
    load_policy(address.replace("libero", "libero/"), cache_dir=tmp_path / "cache")
    load_policy(copy, config="pi0_fast_libero")
    assert imported == [(copy / "9", "pi0_fast_libero")] * 4
    with pytest.raises(ValueError, match=r"has parameters but no assets/contract.json.*config=NAME.*pi0_fast_libero"):
        load_policy(copy)


def test_what_cannot_be_loaded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyError, match=r"Unknown checkpoint 'pi0_fast_lbero'. Did you mean 'pi0_fast_libero'.*folder"):
        load_policy("pi0_fast_lbero")
    with pytest.raises(FileNotFoundError, match="there is nothing, it does not exist"):
        load_policy("checkpoints/absent")
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "config.json").touch()
    (tmp_path / "torch" / "model.safetensors").touch()
    for path in ("torch", "torch/model.safetensors"):
        with pytest.raises(ValueError, match=r"model.safetensors is a safetensors file.*Supported: .*inspire-import"):
            load_policy(path)
    (tmp_path / "torch" / "model.safetensors").rename(tmp_path / "torch" / "model.pt")
    with pytest.raises(ValueError, match=r"model.pt is a PyTorch file"):
        load_policy(tmp_path / "torch")
    (tmp_path / "run" / "3" / "params").mkdir(parents=True)
    (tmp_path / "run" / "exported.safetensors").touch()
    with pytest.raises(ValueError, match=r"run/3 has parameters but no assets/contract.json"):  # the step is found
        load_policy(tmp_path / "run")


def test_an_unknown_config_is_refused_before_anything_is_made(raw: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(KeyError, match="Did you mean 'pi0_fast_libero'"):
        load_policy(raw, config="pi0_fast_lbero")
    with pytest.raises(FileNotFoundError, match="No checkpoint at"):
        load_policy(tmp_path / "nothing", config="pi0_fast_libero")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_checkpoint_with_a_contract_is_served_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny_policy(script="pi0_fast")
    policy.contract = replace(
        policy.contract, config={"name": "mine"}, delta=OPENPI_CONFIGS["pi0_fast_libero"].delta, vocab_skip=128
    )
    step = write_checkpoint(policy, tmp_path / "0")
    loaded = []
    monkeypatch.setattr(InspirePolicy, "load", lambda step, **_: loaded.append(step))
    load_policy(tmp_path, config="mine")
    load_policy(tmp_path, config="pi0_fast_libero")  # says the same
    assert loaded == [step, step]
    with pytest.raises(ValueError, match="brings its tokenizers"):
        load_policy(tmp_path, config="mine", tokenizers=Tokenizers(download=True))
    with pytest.raises(ValueError, match=r"not trained with config 'pi0_fast_droid': its contract says robot 'libero'"):
        load_policy(tmp_path, config="pi0_fast_droid")
    with pytest.raises(ValueError, match=r"Unknown config 'mein'\. Did you mean 'mine'.*needs none"):
        load_policy(tmp_path, config="mein")
    assert len(loaded) == 2


def test_an_imported_checkpoint_agrees_with_its_own_config() -> None:
    contract = replace(tiny_policy().contract, config={"imported_from": "pi0_fast_vqa_libero"})
    require_agreement(contract, "pi0_fast_vqa_libero", Path("0"))
    with pytest.raises(ValueError, match="made with pi0_fast_vqa_libero"):
        require_agreement(contract, "pi0_fast_libero", Path("0"))


@pytest.mark.parametrize("env", get_args(Env))
def test_every_environment_has_a_default_or_says_why_not(env: str) -> None:
    if env in DEFAULTS:
        assert PUBLISHED[default_checkpoint(env)].startswith("gs://openpi-assets/")
    else:
        with pytest.raises(ValueError, match=f"no default policy for {env}: .*DROID, LIBERO"):
            default_checkpoint(env)


def test_an_unknown_environment_is_named() -> None:
    with pytest.raises(ValueError, match="Did you mean 'LIBERO'"):
        default_checkpoint("LIBRO")
