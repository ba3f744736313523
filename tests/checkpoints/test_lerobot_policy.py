"""LeRobot `pi0_fast` policies: text and numbers as its own pipelines make them, folders written and read.

`data/lerobot_pi0_fast/pipelines.json` is what LeRobot 0.6.1's pipelines made of files of ours; see
`tests/external/check_lerobot_network.py`, which also lets LeRobot load what `export_lerobot` writes.
"""

from collections.abc import Callable
from dataclasses import replace
import json
from pathlib import Path
import shutil
from typing import Any

import fsspec
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from inspire_fast.checkpoints import lerobot_exporting
from inspire_fast.checkpoints.assets import write_assets
from inspire_fast.checkpoints.contract import Contract
from inspire_fast.checkpoints.importing import Tokenizers
from inspire_fast.checkpoints.lerobot_exporting import export_lerobot
from inspire_fast.checkpoints.lerobot_importing import LerobotOptions, import_lerobot, is_policy
from inspire_fast.checkpoints.params.orbax import write_params
from inspire_fast.checkpoints.reading import read_params
from inspire_fast.commands.export_checkpoint import export_checkpoint as export
from inspire_fast.commands.import_checkpoint import Args, import_from
from inspire_fast.dialogue.render import PromptFields, render
from inspire_fast.dialogue.testing import tiny_vocabulary
from inspire_fast.policy.load import load_policy
from inspire_fast.policy.policy import InspirePolicy
from inspire_fast.policy.testing import random_params
from inspire_fast.robots import ROBOTS
from tests.checkpoints.lerobot_policies import REFERENCE, SMALL, small_contract, small_policy, write_tokenizer
from tests.checkpoints.written import LORA, assert_equal

VOCABULARY = tiny_vocabulary()
# LeRobot counts ids of actions down from the text tokenizer's last id, which is the network's only with PaliGemma's.
OFFSET = SMALL.vocab_size - VOCABULARY.text.vocab_size


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy's folder as LeRobot would have saved it: without our contract and assets; beside it its tokenizer."""
    home = tmp_path_factory.mktemp("lerobot")
    folder = home / "theirs"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lerobot_exporting, "ARCHITECTURE", SMALL)
        export_lerobot(small_policy(home / "ours"), folder)
    save_file(load_file(folder / "model.safetensors"), folder / "model.safetensors", metadata={"format": "pt"})
    shutil.rmtree(folder / "assets")
    edit(folder, lambda config: config | {"use_relative_actions": False})
    write_tokenizer(home / "tokenizer")
    return home


@pytest.fixture
def theirs(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, to be changed."""
    monkeypatch.setattr(lerobot_exporting, "ARCHITECTURE", SMALL)
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    return tmp_path / "theirs"


def edit(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]], name: str = "config.json") -> None:
    path = folder / name
    path.write_text(json.dumps(change(json.loads(path.read_bytes()))), encoding="utf-8")


def bring(folder: Path, **options: Any) -> Path:
    return import_lerobot(
        folder,
        folder.parent / "imported",
        LerobotOptions(**{"robot": "libero", **options}),
        tokenizers=Tokenizers(text=folder.parent / "tokenizer", action=folder / "action_tokenizer"),
    )


def test_text_and_numbers_are_those_of_lerobots_pipelines() -> None:
    made = json.loads((REFERENCE / "pipelines.json").read_bytes())
    contract = small_contract()
    numbers = contract.normalizer()
    state, actions = np.array(made["state"]), np.array(made["actions"])
    fields = PromptFields(instruction=made["task"], state=numbers.state(state))
    tokens = render(contract.build_script(), fields, VOCABULARY, action_ids=made["fast"]).tokens
    first = len(made["prompt"])
    ids = made["prompt"] + made["action_ids"]
    at = slice(first + 5, first + 5 + len(made["fast"]))  # after BOS and "Action: "
    ids[at] = [i + OFFSET for i in ids[at]]
    assert tokens.ids.tolist() == ids
    # The prompt is one block, each id after it one of its own, and the second BOS is no target.
    assert tokens.block.tolist() == [0] * first + list(range(1, len(ids) - first + 1))
    assert tokens.weight.tolist() == [0.0] * (first + 1) + [1.0] * (len(ids) - first - 1)
    np.testing.assert_allclose(numbers.actions(actions, state), made["normalised"], atol=2e-6)
    np.testing.assert_allclose(numbers.canonical_actions(np.array(made["normalised"]), state), actions, atol=2e-6)


def test_before_0_5_the_state_is_filled_up() -> None:
    script = replace(small_contract(), script_parameters={"state_dim": 32}).build_script()
    fields = PromptFields(instruction="Put_it", state=np.linspace(-1.5, 1, 8))
    text = VOCABULARY.text.decode(render(script, fields, VOCABULARY).tokens.ids)
    assert text == "Task: Put it, State: -1 -1 27 73 118 164 210 255" + " 128" * 24 + ";\nAction: "


def test_a_policy_goes_to_lerobot_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lerobot_exporting, "ARCHITECTURE", SMALL)
    step = small_policy(tmp_path / "ours")
    export(checkpoint=step, out=tmp_path / "theirs", format="lerobot")
    assert_equal(load_file(tmp_path / "theirs" / "model.safetensors"), load_file(REFERENCE / "model.safetensors"))
    import_from(Args(source=str(tmp_path / "theirs"), out=tmp_path / "again"))
    assert_equal(read_params(tmp_path / "again"), read_params(step))
    assert Contract.read(tmp_path / "again" / "assets") == Contract.read(step / "assets")
    with pytest.raises(ValueError, match="--robot would have no effect: this package exported"):
        import_from(Args(source=str(tmp_path / "theirs"), out=tmp_path / "more", robot="libero"))
    for given, words in (
        ({"out": tmp_path / "a", "format": "safetensors"}, "ends in .safetensors, no folder"),
        ({"out": tmp_path / "a.safetensors", "format": "lerobot"}, "ends in .safetensors, no folder"),
        ({"out": tmp_path / "a", "format": "lerobot", "layout": "trained"}, "--layout would"),
    ):
        with pytest.raises(ValueError, match=words):
            export(checkpoint=step, **given)


def test_a_policy_of_lerobots_acts_here(theirs: Path) -> None:
    step = bring(theirs)
    contract, ours = Contract.read(step / "assets"), small_contract()
    for name in (
        "robot",
        "script",
        "horizon",
        "model",
        "vocab_size",
        "vocab_skip",
        "text_fingerprint",
        "normalisation",
    ):
        assert getattr(contract, name) == getattr(ours, name), name
    for key, stats in ours.stats.items():
        for name, values in stats.items():
            np.testing.assert_allclose(contract.stats[key][name], values, rtol=1e-6)
    assert_equal(read_params(step), read_params(theirs.parent / "ours"))
    chunk = InspirePolicy.load(step).infer(ROBOTS["libero"].fake_native())
    assert chunk.actions.shape == (10, 7)
    assert np.isfinite(chunk.actions).all()


def test_other_settings_reach_the_contract(theirs: Path) -> None:
    modes = {"VISUAL": "IDENTITY", "STATE": "MEAN_STD", "ACTION": "MEAN_STD"}
    names = {"observation.images.front": "base_0_rgb", "observation.images.hand": "left_wrist_0_rgb"}

    def older(config: dict[str, Any]) -> dict[str, Any]:
        config.pop("use_relative_actions")
        features = dict(zip([*names, "observation.state"], config["input_features"].values(), strict=True))
        features["observation.images.empty_camera_0"] = features["observation.images.front"]
        return config | {"input_features": features, "normalization_mapping": modes, "fast_skip_tokens": 2}

    edit(theirs, older)
    with pytest.raises(ValueError, match=r"LeRobot 0\.4 or 0\.5\.0 wrote it.*--state-dim 32 for 0\.4"):
        bring(theirs)
    with pytest.raises(
        ValueError, match=r"became the cameras \['front', 'hand'\].*--cameras observation.images.front CAM"
    ):
        bring(theirs, state_dim=32)
    swapped = dict(zip(names, reversed(names.values()), strict=True))
    with pytest.raises(ValueError, match="expected the same, in the same order"):
        bring(theirs, state_dim=32, cameras=swapped)
    with pytest.raises(ValueError, match=r"it has no \['observation.images.top'\]"):
        bring(theirs, state_dim=32, cameras={**names, "observation.images.top": "base_0_rgb"})
    contract = Contract.read(bring(theirs, state_dim=32, cameras=names, asset_id="mine") / "assets")
    assert (contract.vocab_skip, contract.normalisation, contract.asset_id) == (2, "zscore", "mine")
    assert contract.script_parameters == {"state_dim": 32}
    assert contract.model.cameras == ("base_0_rgb", "left_wrist_0_rgb")


def test_all_that_does_not_map_is_named_at_once(theirs: Path) -> None:
    modes = {"VISUAL": "MEAN_STD", "STATE": "MIN_MAX", "ACTION": "QUANTILES"}
    other = {"use_relative_actions": True, "paligemma_variant": "gemma_300m", "normalization_mapping": modes}
    edit(theirs, lambda config: config | other)
    with pytest.raises(ValueError, match="cannot be imported") as refused:
        bring(theirs, robot="aloha")
    for words in (
        r"shapes {'state': [8], 'actions': [7]}; robot 'aloha' has {'state': [14], 'actions': [14]}",
        "paligemma_variant is 'gemma_300m'",
        "images are normalised by 'MEAN_STD'",
        "by 'MIN_MAX' and 'QUANTILES'; expected one of ['MEAN_STD', 'QUANTILES'] for both",
        "use_relative_actions is set",
    ):
        assert words in str(refused.value)
    edit(theirs, lambda config: config | {"type": "pi0fast"})
    with pytest.raises(ValueError, match=r"type 'pi0fast'; expected 'pi0_fast'.*before LeRobot 0\.4.*--init-from"):
        bring(theirs)
    (theirs / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="is not JSON, or cut off"):
        bring(theirs)


@pytest.mark.parametrize(
    "changed",
    [
        {"input_features": None},
        {"output_features": {"action": 7}},
        {"chunk_size": "10"},
        {"image_resolution": [24]},
        {"normalization_mapping": ["QUANTILES"]},
        {"fast_skip_tokens": None},
        {"text_tokenizer_name": 3},
    ],
)
def test_fields_of_other_types_are_named(theirs: Path, changed: dict[str, Any]) -> None:
    edit(theirs, lambda config: config | changed)
    with pytest.raises(ValueError, match=rf"does not write so: .*{next(iter(changed))}.*Expected values like"):
        bring(theirs)


def test_an_unknown_text_tokenizer_must_be_given(theirs: Path) -> None:
    edit(theirs, lambda config: config | {"text_tokenizer_name": "somebody/gemma"})
    with pytest.raises(ValueError, match=r"tokenizer is 'somebody/gemma', none of.*--text-tokenizer"):
        import_lerobot(theirs, theirs.parent / "imported", LerobotOptions(robot="libero"))


def test_statistics_are_needed(theirs: Path) -> None:
    (file,) = theirs.glob("*_normalizer_processor.safetensors")
    arrays = load_file(file)
    for kept, words in ((lambda name: "std" not in name, "no whole statistics"), (str, "another robot")):
        save_file({name: a[:5] for name, a in arrays.items() if kept(name)}, file)
        with pytest.raises(ValueError, match=words):
            bring(theirs)
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ValueError, match="or is cut off"):
        bring(theirs)
    edit(theirs, lambda pipeline: {"steps": pipeline["steps"][:2]}, "policy_preprocessor.json")
    with pytest.raises(ValueError, match="has 0 normalisers with statistics"):
        bring(theirs)
    for damaged in ("{", "[]", '{"steps": [3]}'):
        (theirs / "policy_preprocessor.json").write_text(damaged, encoding="utf-8")
        with pytest.raises(ValueError, match="no pipeline of LeRobot's, or cut off"):
            bring(theirs)
    (theirs / "policy_preprocessor.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"No policy_preprocessor\.json in"):
        bring(theirs)
    assert not (theirs.parent / "imported").exists()


def test_a_policy_at_an_address_is_told_what_it_lacks(theirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENPI_DATA_HOME", str(theirs.parent / "cache"))
    store = fsspec.filesystem("memory")
    store.put(f"{theirs}/", "/hub/theirs/", recursive=True)
    try:
        with pytest.raises(ValueError, match=r"theirs is a LeRobot policy.*--source memory://hub/theirs --out"):
            load_policy("memory://hub/theirs")
    finally:
        store.rm("/hub", recursive=True)


def test_the_command_asks_for_the_robot(theirs: Path, capsys: pytest.CaptureFixture) -> None:
    given = {"source": str(theirs), "out": theirs.parent / "imported"}
    with pytest.raises(ValueError, match=r"needs --robot, one of: .*libero"):
        import_from(Args(**given))
    with pytest.raises(ValueError, match="--config would have no effect: LeRobot's config"):
        import_from(Args(**given, robot="libero", config="pi0_fast_libero"))
    with pytest.raises(ValueError, match=r"LeRobot policy.*inspire-import --source .*--robot"):
        load_policy(theirs)
    with pytest.raises(FileNotFoundError, match="PaliGemma's tokenizer"):
        import_from(Args(**given, robot="libero"))
    assert "serve" not in capsys.readouterr().out


def test_what_lerobot_cannot_be_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    step = small_policy(tmp_path / "ours")
    with pytest.raises(ValueError, match=r"one architecture, PaliGemma's: its vision is SiglipConfig\(patch=14"):
        export_lerobot(step, tmp_path / "out")
    monkeypatch.setattr(lerobot_exporting, "ARCHITECTURE", SMALL)
    write_assets(step / "assets", replace(small_contract(), delta=(True,) * 6), VOCABULARY)
    with pytest.raises(ValueError, match="relative to the state"):
        export_lerobot(step, tmp_path / "out")
    write_assets(step / "assets", small_contract("pi0_fast"), VOCABULARY)
    export_lerobot(step, tmp_path / "out")
    assert "trained with script 'pi0_fast'" in caplog.text
    lora = replace(SMALL, language=replace(SMALL.language, lora_mlp=LORA.language.lora_mlp))
    write_params(tmp_path / "lora", random_params(lora))
    write_assets(tmp_path / "lora" / "assets", replace(small_contract(), model=lora), VOCABULARY)
    with pytest.raises(ValueError, match="--lora merge"):
        export_lerobot(tmp_path / "lora", tmp_path / "more")
    assert export_lerobot(tmp_path / "lora", tmp_path / "merged", lora="merge", dtype="bfloat16").is_dir()
    assert json.loads((tmp_path / "merged" / "config.json").read_bytes())["dtype"] == "bfloat16"


@pytest.mark.parametrize(
    ("config", "is_one"),
    [
        ('{"type": "pi0_fast"}', True),
        ('{"type": "act"}', True),
        ('{"type": "pi0_fast", "chunk', True),  # cut off: told as such, not as something else
        ('{"model_type": "gemma", "rope_scaling": {"type": "linear"}}', False),
        ("[]", False),
    ],
)
def test_a_folder_of_transformers_is_no_policy(tmp_path: Path, config: str, is_one: bool) -> None:
    (tmp_path / "config.json").write_text(config, encoding="utf-8")
    assert not is_policy(tmp_path)
    (tmp_path / "model-00001-of-00002.safetensors").touch()
    assert is_policy(tmp_path) is is_one
