"""Checkpoints from and to openpi, through every named config, and as safetensors files."""

from dataclasses import asdict, replace
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from inspire_fast.checkpoints.contract import Contract
from inspire_fast.checkpoints.exporting import export_checkpoint, export_safetensors
from inspire_fast.checkpoints.importing import (
    ImportOptions,
    Tokenizers,
    import_checkpoint,
    import_safetensors,
    read_model,
)
from inspire_fast.checkpoints.openpi_configs import OPENPI_CONFIGS, OpenpiConfig
from inspire_fast.checkpoints.params.orbax import layout_of, write_params
from inspire_fast.checkpoints.params.safetensors import open_safetensors
from inspire_fast.checkpoints.reading import read_params
from inspire_fast.commands.export_checkpoint import export_checkpoint as export
from inspire_fast.commands.import_checkpoint import Args, import_from
from inspire_fast.core.files import StagedFolder
from inspire_fast.data.normalization.stats import NormStats, load_norm_stats, save_norm_stats
from inspire_fast.dialogue.testing import tiny_vocabulary
from inspire_fast.models.config import PRESETS
from inspire_fast.policy.policy import InspirePolicy
from inspire_fast.policy.testing import random_params, tiny_policy, write_checkpoint
from inspire_fast.robots import ROBOTS
from inspire_fast.tokenizers.fast.tokenizer import FastTokenizer
from tests.checkpoints.written import LORA, TEST, assert_equal

VOCABULARY = tiny_vocabulary()
NETWORK = replace(TEST, vocab_size=VOCABULARY.size)


def stats_of(robot: str, *, padding: int = 0) -> dict[str, NormStats]:
    """Statistics that name their dimension."""
    dims = {"state": ROBOTS[robot].state_dim, "actions": ROBOTS[robot].action_dim}
    ramps = {key: np.pad(np.arange(1.0, n + 1), (0, padding)) for key, n in dims.items()}
    return {key: NormStats(mean=0 * x, std=x, q01=-x, q99=x) for key, x in ramps.items()}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of somebody with openpi's checkpoints: `run/9`, and tokenizers."""
    folder = tmp_path_factory.mktemp("openpi")
    write_params(folder / "run" / "9", random_params(NETWORK), layout="trained")
    VOCABULARY.text.save(folder)
    assert isinstance(VOCABULARY.action, FastTokenizer)
    VOCABULARY.action.save_processor(folder / "processor")
    config = folder / "processor" / "processor_config.json"
    universal = json.loads(config.read_text(encoding="utf-8")) | {"time_horizon": None, "action_dim": None}
    config.write_text(json.dumps(universal), encoding="utf-8")
    return folder


def bring(home: Path, config: str | OpenpiConfig, out: Path, **options) -> Path:
    return import_checkpoint(
        home / "run",
        config,
        out,
        tokenizers=Tokenizers(text=home, action=home / "processor"),
        options=ImportOptions(model=NETWORK, **options),
    )


@pytest.mark.parametrize("name", list(OPENPI_CONFIGS))
def test_every_named_config_makes_a_contract(home: Path, tmp_path: Path, name: str) -> None:
    facts = OPENPI_CONFIGS[name]
    robot = ROBOTS[facts.robot]
    save_norm_stats(home / "run" / "9" / "assets" / facts.asset_id, stats_of(facts.robot, padding=3))
    out = bring(home, name, tmp_path / "out")
    contract = Contract.read(out / "assets")
    assert PRESETS[facts.preset].language.has_lora == ("low_mem" in name)
    assert (contract.robot, contract.horizon, contract.asset_id) == (facts.robot, facts.horizon, facts.asset_id)
    assert (contract.delta, contract.image_orientation) == (facts.delta, robot.image_orientation)
    assert contract.model.cameras == robot.model_cameras
    assert contract.normalizer().stats["actions"].q99.tolist() == list(range(1, robot.action_dim + 1))
    assert contract.config["imported_from"] == name
    assert contract.config["action_tokenizer"] == str(home / "processor")
    assert contract.compatibility == (("inspire_released",) if name == "pi0_fast_vqa_libero" else ())
    assert contract.max_token_len == facts.max_token_len
    asks = contract.build_script().questions
    assert bool(asks) == ("vqa" in name)
    assert all("catch" in question.answers for question in asks)
    vocabulary = contract.load_vocabulary(out / "assets")
    assert vocabulary.from_action([0]).tolist() == [NETWORK.vocab_size - 129]
    np.testing.assert_array_equal(
        load_norm_stats(out / "assets" / facts.asset_id)["state"].q99, np.arange(1, robot.state_dim + 1)
    )


def test_files_are_shared_unless_copies_are_asked_for(home: Path, tmp_path: Path) -> None:
    save_norm_stats(home / "run" / "9" / "assets" / "physical-intelligence/libero", stats_of("libero"))
    linked, copied = (
        bring(home, "pi0_fast_libero", tmp_path / name, copy=name == "copied") for name in ("linked", "copied")
    )
    inodes = [(step / "params" / "_METADATA").stat().st_ino for step in (home / "run" / "9", linked, copied)]
    assert inodes[0] == inodes[1] != inodes[2]
    for out in (linked, copied):
        assert_equal(read_params(out), read_params(home / "run"))
    with pytest.raises(FileExistsError, match="exists and is not empty; choose another"):
        bring(home, "pi0_fast_libero", linked)


def test_statistics_of_another_robot_are_refused(home: Path, tmp_path: Path) -> None:
    assets = home / "run" / "9" / "assets"
    save_norm_stats(assets / "physical-intelligence/libero", stats_of("aloha"))
    save_norm_stats(assets / "mine", stats_of("libero"))
    with pytest.raises(
        ValueError, match=r"another robot: dimensions {'state': 14, 'actions': 14}.*'state': 8, 'actions': 7"
    ):
        bring(home, "pi0_fast_libero", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match=r"statistics of 'yours'.*mine, physical-intelligence/libero"):
        bring(home, "pi0_fast_libero", tmp_path / "out", asset_id="yours")
    save_norm_stats(assets / "half", {"state": stats_of("libero")["state"]})
    with pytest.raises(ValueError, match=r"no statistics of \['actions'\]"):
        bring(home, "pi0_fast_libero", tmp_path / "out", asset_id="half")
    assert (
        Contract.read(bring(home, "pi0_fast_libero", tmp_path / "out", asset_id="mine") / "assets").asset_id == "mine"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["out"]  # what was refused left nothing behind


def test_what_does_not_belong_together_is_refused(home: Path, tmp_path: Path) -> None:
    save_norm_stats(home / "run" / "9" / "assets" / "droid", stats_of("droid"))
    with pytest.raises(KeyError, match=r"Unknown openpi config 'pi0_fast_drod'\. Did you mean 'pi0_fast_droid'"):
        bring(home, "pi0_fast_drod", tmp_path / "out")
    with pytest.raises(KeyError, match=r"compatibility option 'openpi_decod'.*openpi_decode"):
        bring(home, "pi0_fast_droid", tmp_path / "out", compatibility=("openpi_decod",))
    with pytest.raises(ValueError, match="does not fit the network"):
        import_checkpoint(
            home / "run",
            "pi0_fast_droid",
            tmp_path / "out",
            tokenizers=Tokenizers(text=home),
            options=ImportOptions(model=TEST_LARGER),
        )
    with pytest.raises(FileNotFoundError, match="No FAST processor"):
        import_checkpoint(
            home / "run",
            "pi0_fast_droid",
            tmp_path / "out",
            tokenizers=Tokenizers(text=home, action=home / "no"),
            options=ImportOptions(model=NETWORK),
        )
    with pytest.raises(ValueError, match="cannot hold"):
        bring(home, replace(OPENPI_CONFIGS["pi0_fast_droid"], vocab_skip=500), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_the_specialist_has_a_tokenizer_of_its_own(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {name for name in OPENPI_CONFIGS if "KarlP" in OPENPI_CONFIGS[name].action_tokenizer} == {
        "paligemma_fast_specialist_droid"
    }
    monkeypatch.chdir(home)  # a folder of the repository's name stands in for the hub
    facts = replace(OPENPI_CONFIGS["paligemma_fast_specialist_droid"], action_tokenizer="processor")
    save_norm_stats(home / "run" / "9" / "assets" / "droid", stats_of("droid"))
    out = import_checkpoint(
        home / "run",
        facts,
        tmp_path / "out",
        tokenizers=Tokenizers(text=home),
        options=ImportOptions(model=NETWORK),
    )
    assert Contract.read(out / "assets").config["action_tokenizer"] == "processor"


@pytest.mark.parametrize("name", ["../droid", "a/../../b", "/droid", "", "..\\droid"])
def test_an_asset_id_stays_in_the_checkpoint(home: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="An asset id is a folder below"):
        bring(home, "pi0_fast_droid", tmp_path / "out", asset_id=name)
    with pytest.raises(ValueError, match="An asset id is a folder below"):
        replace(tiny_policy().contract, asset_id=name)


def test_openpis_decoding_is_not_imported_with_questions(home: Path, tmp_path: Path) -> None:
    facts = OPENPI_CONFIGS["pi0_fast_vqa_libero"]
    save_norm_stats(home / "run" / "9" / "assets" / facts.asset_id, stats_of(facts.robot))
    with pytest.raises(ValueError, match="openpi_decode writes plain pi0-FAST actions; script 'inspire' asks"):
        bring(home, "pi0_fast_vqa_libero", tmp_path / "out", compatibility=("openpi_decode",))


@pytest.mark.parametrize("content", ["[]", "null", "3"])
def test_statistics_that_are_no_object_are_refused(home: Path, tmp_path: Path, content: str) -> None:
    file = home / "run" / "9" / "assets" / "odd" / "norm_stats.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f'{{"norm_stats": {content}}}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"odd/norm_stats\.json is not openpi's format"):
        bring(home, "pi0_fast_libero", tmp_path / "out", asset_id="odd")


def test_an_architecture_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "network.json"
    file.write_text(json.dumps(asdict(NETWORK)), encoding="utf-8")
    assert read_model(str(file)) == NETWORK
    assert read_model("test") == TEST
    with pytest.raises(KeyError, match="Did you mean 'gemma_2b'"):
        read_model("gemma_2")
    for content, words in (("[]", "network.json"), ('{"vision": ', "network.json"), ('{"vocab_size": 3}', "'vision'")):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match=f"{words}.*|no architecture.*{words}"):
            read_model(str(file))


def test_a_new_folder_touches_no_other(tmp_path: Path) -> None:
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial" / "precious").write_text("mine", encoding="utf-8")
    (tmp_path / "plain").mkdir()
    with StagedFolder(tmp_path / "out") as folder, StagedFolder(tmp_path / "out2") as second:
        (folder / "file").touch()
        assert second != folder
    assert sorted(p.name for p in tmp_path.iterdir()) == [".out.partial", "out", "out2", "plain"]
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert (tmp_path / ".out.partial" / "precious").read_text(encoding="utf-8") == "mine"


TEST_LARGER = replace(NETWORK, language=replace(NETWORK.language, width=64))


def same_policy(one: InspirePolicy, other: InspirePolicy) -> None:
    assert one.contract.differences(other.contract) == []
    ours, theirs = (jax.tree.leaves(p.decoder.model) for p in (one, other))
    assert len(ours) == len(theirs) > 10
    for mine, other_leaf in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other_leaf)


def test_out_and_back_in_every_form(tmp_path: Path) -> None:
    policy = tiny_policy()
    step = write_checkpoint(policy, tmp_path / "run" / "3")
    same_policy(InspirePolicy.load(tmp_path / "run"), policy)
    for layout in ("released", "trained"):
        out = export_checkpoint(tmp_path / "run", tmp_path / layout, layout=layout)
        assert layout_of(out) == layout
        assert ((out / "params" / "_METADATA").stat().st_ino == (step / "params" / "_METADATA").stat().st_ino) == (
            layout == "released"
        )
        assert {p.relative_to(out) for p in out.rglob("norm_stats.json")} == {Path("assets/test/norm_stats.json")}
        same_policy(InspirePolicy.load(out), policy)
    file = export_safetensors(step, tmp_path / "policy.safetensors")
    again = import_safetensors(file, tmp_path / "again", assets=step / "assets")
    same_policy(InspirePolicy.load(again), policy)
    half = export_checkpoint(step, tmp_path / "half", dtype="bfloat16")
    expected = {k: v.astype("bfloat16") for k, v in random_params(policy.contract.model).items()}
    assert_equal(read_params(half), expected)


def test_a_safetensors_file_needs_its_own_tokenizers(tmp_path: Path) -> None:
    step = write_checkpoint(tiny_policy(), tmp_path / "0")
    other = write_checkpoint(tiny_policy(one_id_answers=False), tmp_path / "1")
    file = export_safetensors(step, tmp_path / "policy.safetensors", dtype="bfloat16")
    assert {leaf.dtype.name for leaf in open_safetensors(file).leaves.values()} == {"bfloat16"}
    with pytest.raises(ValueError, match=r"tokenizer in .* has hash"):
        import_safetensors(file, tmp_path / "out", assets=other / "assets")
    with pytest.raises(FileNotFoundError, match="No text tokenizer"):
        import_safetensors(file, tmp_path / "out", assets=tmp_path)
    assert not (tmp_path / "out").exists()


def test_lora_is_kept_merged_or_taken_off_its_base(tmp_path: Path) -> None:
    policy = tiny_policy()
    network = replace(LORA, vocab_size=policy.vocabulary.size)
    params, contract = random_params(network), replace(policy.contract, model=network)
    step = write_checkpoint(policy, tmp_path / "0")
    write_params(tmp_path / "lora", params)
    (step / "params").rename(tmp_path / "unused")
    (tmp_path / "lora" / "params").rename(step / "params")
    (step / "assets" / "contract.json").write_text(contract.to_json(), encoding="utf-8")

    merged = export_checkpoint(step, tmp_path / "merged", lora="merge")
    assert not Contract.read(merged / "assets").model.language.has_lora
    assert InspirePolicy.load(merged).parameters == sum(v.size for k, v in params.items() if "lora" not in k)
    only = export_checkpoint(step, tmp_path / "only", lora="only")
    assert {("lora" in path or "/img/" in path) for path in read_params(only)} == {True}
    assert_equal(read_params(export_checkpoint(only, tmp_path / "whole", base=step)), params)
    same_policy(InspirePolicy.load(only, base=step), InspirePolicy.load(step))
    with pytest.raises(ValueError, match="missing: PaliGemma/llm"):
        export_checkpoint(only, tmp_path / "broken")
    with pytest.raises(ValueError, match="nothing to merge"):
        export_checkpoint(merged, tmp_path / "broken", lora="merge")
    with pytest.raises(ValueError, match="has no LoRA"):
        export_safetensors(merged, tmp_path / "broken.safetensors", lora="only")
    assert not list(tmp_path.glob("*broken*"))


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    step = write_checkpoint(tiny_policy(), tmp_path / "0")
    file = tmp_path / "a.safetensors"
    export(checkpoint=step, out=file)
    import_from(Args(source=str(file), out=tmp_path / "1", assets=step / "assets"))
    assert "inspire-serve --checkpoint" in capsys.readouterr().out
    assert_equal(read_params(tmp_path / "1"), read_params(step))
    export(checkpoint=step, out=tmp_path / "2", layout="trained")
    assert layout_of(tmp_path / "2") == "trained"
    # What a kind of checkpoint has no use for is not ignored.
    with pytest.raises(ValueError, match="--layout would"):
        export(checkpoint=step, out=tmp_path / "b.safetensors", layout="trained")
    for given, words in (
        ({"source": str(file), "config": "x", "copy": True}, "--config, --copy would"),
        ({"source": str(step), "config": "pi0_fast_droid", "assets": step}, "--assets would"),
        ({"source": str(step)}, "needs --config, one of: .*pi0_fast_droid"),
    ):
        with pytest.raises(ValueError, match=words):
            import_from(Args(**given, out=tmp_path / "3"))
    assert not (tmp_path / "b.safetensors").exists()
    assert not (tmp_path / "3").exists()
