from dataclasses import asdict, fields, is_dataclass, replace
import json
from pathlib import Path

from flax import nnx
import jax
import pytest

from inspire_fast.commands.with_config import ConfigArgument, run_with_config
from inspire_fast.core.nested import flatten_dict
from inspire_fast.data.question_dropout import QuestionDropout
from inspire_fast.models.config import GEMMA_2B, PRESETS
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.training.config import MeshConfig, TrainConfig
from inspire_fast.training.named_configs import config_names, load_config
from inspire_fast.training.optimizer import learning_rate
from inspire_fast.training.renamed_fields import RENAMED, with_new_names
from inspire_fast.training.resuming import FREE, settings_differences
from inspire_fast.training.run_contract import jsonable
from inspire_fast.training.sharding import make_mesh, spec_for


@pytest.mark.parametrize("name", config_names())
def test_every_config_builds(name: str) -> None:
    config = load_config(name)
    assert config.build_script().acts is ("ground" not in name)
    shapes = nnx.eval_shape(lambda: Pi0Fast(config.model, rngs=nnx.Rngs(0)))
    assert sum(x.size for x in jax.tree.leaves(nnx.state(shapes))) > 0
    assert learning_rate(config.optimizer, config.steps)(config.optimizer.warmup_steps) == pytest.approx(
        config.optimizer.peak_lr, rel=0.01
    )
    assert config.steps % config.checkpoint.every == 0
    text = (Path(__file__).parents[2] / "configs" / f"{name}.py").read_text(encoding="utf-8")
    assert "Launch:" in text
    assert "Hardware:" in text


def test_the_demo_has_under_two_million_parameters() -> None:
    shapes = nnx.eval_shape(lambda: Pi0Fast(load_config("demo").model, rngs=nnx.Rngs(0)))
    assert sum(x.size for x in jax.tree.leaves(nnx.state(shapes))) <= 2_000_000


def test_unknown_names_suggest_a_known_one() -> None:
    with pytest.raises(KeyError, match="Did you mean 'debug'"):
        load_config("debgu")
    with pytest.raises(KeyError, match=r"Unknown robot 'libreo'\. Did you mean 'libero'"):
        replace(load_config("debug"), robot="libreo")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 0}, "must be a whole number, at least 1"),
        ({"resume": True, "overwrite": True}, "contradict"),
        ({"exp_name": ""}, "exp_name must be the name of one folder"),
        ({"exp_name": ".."}, "exp_name must be the name of one folder"),
        ({"name": "a/b"}, "name must be the name of one folder"),
        ({"asset_id": "../x"}, "asset id is a folder below"),
    ],
)
def test_contradictions_are_refused(change: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(load_config("debug"), **change)


def test_a_warm_up_longer_than_the_run_is_refused() -> None:
    config: TrainConfig = load_config("debug")
    with pytest.raises(ValueError, match="must be less than"):
        learning_rate(replace(config.optimizer, warmup_steps=10), steps=5)


def test_an_axis_that_the_mesh_does_not_divide_stays_whole() -> None:
    mesh = make_mesh(MeshConfig())
    assert mesh.shape == {"data": jax.device_count(), "fsdp": 1, "tensor": 1}
    assert spec_for("params/language/final_norm", (8,), mesh) == jax.sharding.PartitionSpec()
    with pytest.raises(ValueError, match="cannot be arranged"):
        make_mesh(MeshConfig(fsdp=3 * jax.device_count()))


def test_presets_are_what_they_say() -> None:
    def size(name: str) -> int:
        shapes = nnx.eval_shape(lambda: Pi0Fast(PRESETS[name], rngs=nnx.Rngs(0)))
        return sum(x.size for x in jax.tree.leaves(nnx.state(shapes)))

    assert size("gemma_2b") == 2_923_335_408
    assert 20e6 < size("small") < 60e6


def test_action_ids_of_paligemmas_networks_leave_the_last_ids_alone() -> None:
    config = replace(load_config("inspire_small_libero"), model=GEMMA_2B, init_from=Path("pi0_fast_base"))
    assert config.skip == 128
    assert load_config("debug").skip == 0
    with pytest.raises(ValueError, match="vocab_skip=0 gives actions other ids"):
        replace(config, tokenizers=replace(config.tokenizers, vocab_skip=0))


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_option_fails_with_its_new_name(old: str, new: str, capsys: pytest.CaptureFixture[str]) -> None:
    for option in (f"--{old.replace('_', '-')}", f"--{old}=1"):
        with pytest.raises(SystemExit) as stopped:
            run_with_config(print, ["debug", option, "1"])
        assert stopped.value.code == 2
        said = capsys.readouterr().err
        assert f"--{old.replace('_', '-')} is now --{new.replace('_', '-')}" in said
    value = asdict(load_config("debug"))
    for name in new.split("."):
        value = value[name]


def test_a_stored_config_of_before_has_the_names_of_today() -> None:
    """Written by `make_contract` before fields were grouped, for a variant of `demo`."""
    stored = json.loads((Path(__file__).parent / "config_of_format_2.json").read_text(encoding="utf-8"))
    demo = load_config("demo")
    same = replace(
        demo,
        grad_accum_steps=4,
        logging=replace(demo.logging, trackers=("wandb",)),
        optimizer=replace(demo.optimizer, lr_factors={"^vision/": 0.1}),
        dialogue=replace(demo.dialogue, max_targets=2, question_parameters={"direction": {"grasped": "catch"}}),
    )
    before = json.dumps(stored)
    assert settings_differences(stored, jsonable(same)) == [], "such a run can be continued"
    assert settings_differences(stored, jsonable(replace(same, seed=1))) == ["seed: 42 and 1"]
    now = json.loads(json.dumps(jsonable(same), default=str))
    for group, later in (("dialogue", "script_parameters"), ("evaluation", "gradient_parts")):  # fields added since
        now[group].pop(later)
    assert with_new_names(stored) == now
    assert json.dumps(stored) == before, "the stored one is left as it is"
    assert with_new_names(with_new_names(stored)) == with_new_names(stored)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": 560}, ["optimizer.decay_steps: 280 and 560 (`--optimizer.decay-steps 280` keeps the schedule)"]),
        ({"steps": 560, "optimizer": {"decay_steps": 280}}, []),
        ({"optimizer": {"peak_lr": 1.0}}, ["optimizer.peak_lr: 0.0015 and 1.0"]),
        (
            {"optimizer": {"schedule": "constant"}},
            ["optimizer.decay_steps: 280 and None", "optimizer.schedule: 'cosine'"],
        ),
        ({"optimizer": {"lr_factors": {"^vision/": 0.1}}}, ["optimizer.lr_factors.^vision.: 'nothing' and 0.1"]),
        ({"objective": {"z_loss": 1e-4}}, ["objective.z_loss: 0.0 and 0.0001"]),
        ({"data": {"question_dropout": QuestionDropout(without=0.5)}}, ["data.question_dropout.without: 0.0 and 0.5"]),
        ({"data": {"state_noise": 0.5}}, ["data.state_noise: 0.02 and 0.5"]),
        ({"data": {"max_token_len": 999, "max_supervised": 999, "loader_threads": 1}}, []),
        ({"batch_size": 8, "grad_accum_steps": 2, "exp_name": "b", "resume": True, "evaluation": {"every": 1}}, []),
    ],
)
def test_a_resumed_run_keeps_its_settings(change: dict, words: list[str]) -> None:
    demo = load_config("demo")
    changed = {k: replace(getattr(demo, k), **v) if isinstance(v, dict) else v for k, v in change.items()}
    lines = settings_differences(jsonable(demo), jsonable(replace(demo, **changed)))
    assert len(lines) == len(words)
    assert all(line.startswith(said) for line, said in zip(lines, words, strict=True))


def test_an_endless_schedule_has_no_length() -> None:
    demo = load_config("demo")
    demo = replace(demo, optimizer=replace(demo.optimizer, schedule="rsqrt"))
    assert settings_differences(jsonable(demo), jsonable(replace(demo, steps=999))) == []


def test_settings_that_may_change_exist() -> None:
    """Every other field is compared, also one that is added later."""
    stored = flatten_dict({**jsonable(load_config("demo")), "data/parts": []})
    assert all(any(f"{path}/".startswith(f"{free}/") for path in stored) for free in FREE)


def on_command_line(*words: str) -> TrainConfig:
    given: list[TrainConfig] = []

    def take(config: ConfigArgument) -> None:
        given.append(config)

    run_with_config(take, ["debug", *words])
    return given[0]


@pytest.mark.parametrize(
    ("words", "path", "value"),
    [
        (
            ("--tokenizers.action-parameters", "scale", "20", "coefficient_range", "(-400,400)"),
            "tokenizers.action_parameters",
            {"scale": 20, "coefficient_range": (-400, 400)},
        ),
        (("--tokenizers.action-parameters", '{"scale": 2.5}'), "tokenizers.action_parameters", {"scale": 2.5}),
        (("--tokenizers.action-parameters", "processor", "a/b"), "tokenizers.action_parameters", {"processor": "a/b"}),
        (("--tokenizers.action-parameters", "--seed", "1"), "tokenizers.action_parameters", {}),
        (
            ("--dialogue.question-parameters", "direction", '{"grasped": "held"}'),
            "dialogue.question_parameters",
            {"direction": {"grasped": "held"}},
        ),
        (
            ("--dialogue.script", "st4vla", "--dialogue.script-parameters", "spatial_prompt", "box"),
            "dialogue.script_parameters",
            {"spatial_prompt": "box"},
        ),
        (("--optimizer.lr-factors", "^vision/", "0.1"), "optimizer.lr_factors", {"^vision/": 0.1}),
        (("--optimizer.weight-decays", "norm", "0"), "optimizer.weight_decays", {"norm": 0.0}),
        (("--data.columns", "state", "observation/state"), "data.columns", {"state": "observation/state"}),
    ],
)
def test_mapping_fields_are_options(words: tuple[str, ...], path: str, value: dict) -> None:
    group, name = path.split(".")
    assert getattr(getattr(on_command_line(*words), group), name) == value


def test_every_mapping_field_is_tried_above() -> None:
    tried = {"action_parameters", "question_parameters", "script_parameters", "lr_factors", "weight_decays", "columns"}
    demo = load_config("demo")
    groups = [getattr(demo, f.name) for f in fields(demo) if is_dataclass(getattr(demo, f.name))]
    assert {f.name for group in groups for f in fields(group) if isinstance(getattr(group, f.name), dict)} == tried


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--tokenizers.action-parameters", "scal", "20"), "Did you mean 'scale'"),
        (("--tokenizers.action-parameters", "scale"), "each followed by its value"),
        (("--tokenizers.action-parameters", "scale", "0"), "must be a number, above 0"),
        (("--tokenizers.action-parameters", "{scale: 1}"), "is not valid JSON"),
        (("--tokenizers.action-parameters.scale", "20"), "write --tokenizers.action-parameters scale VALUE"),
        (("--dialogue.question-parameters", "direction", "5"), "gives each question an object"),
        (("--dialogue.question-parameters", "direction", '{"graspd": "held"}'), "Did you mean 'grasped'"),
        (("--dialogue.questions", "direction", "direction"), "names a question twice"),
        (("--dialogue.questions", "--seed", "1"), "needs at least one question"),
    ],
)
def test_wrong_parameters_are_refused(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        on_command_line(*words)
    assert stopped.value.code == 2
    printed = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert said in printed
