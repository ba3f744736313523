"""A real config, shrunk: trains, saves, is killed, resumes with the same losses, is served; on one device and on eight.

It trains on two datasets of different versions; one alone is trained on in tests/serving/test_action_tokenizers.py.
"""

from dataclasses import replace
import json
import os
from pathlib import Path
import re
import shutil
import signal
import socket
import subprocess
import sys

from flax.traverse_util import flatten_dict
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inspire_fast.checkpoints.contract import Contract
from inspire_fast.checkpoints.reading import read_params
from inspire_fast.commands.train import train as train_command
from inspire_fast.commands.with_config import run_with_config
from inspire_fast.core.batch import TARGET_ACTION, Batch
from inspire_fast.core.files import read_json_lines
from inspire_fast.data.normalization.stats import normalize_quantile
from inspire_fast.data.testing import PHRASES, write_fake_dataset
from inspire_fast.data.training_transform import facts_of, true_answers
from inspire_fast.models.config import TEST
from inspire_fast.models.freeze import FreezeConfig
from inspire_fast.models.loss import Objective
from inspire_fast.policy.decoder import Decoded
from inspire_fast.policy.policy import InspirePolicy
from inspire_fast.training import loop, state
from inspire_fast.training.config import (
    CheckpointConfig,
    DialogueConfig,
    EvaluationConfig,
    LoggingConfig,
    OptimizerConfig,
    TrainConfig,
)
from inspire_fast.training.dataset_config import DataPart
from inspire_fast.training.datasets.assets import compute_stats, fit_tokenizers
from inspire_fast.training.datasets.sources import open_source
from inspire_fast.training.loop import train
from inspire_fast.training.named_configs import load_config
from inspire_fast.training.preemption import PreemptedError, Preemption
from inspire_fast.training.prepare import prepare, to_batch
from inspire_fast.training.reporting.held_out import evaluate_held_out
from inspire_fast.training.reporting.metrics_log import require_finite
from inspire_fast.training.reporting.throughput import THROUGHPUT
from inspire_fast.training.sharding import batch_sharding
from inspire_fast.training.state import init_state, make_gradient
from inspire_fast.training.trackers.metric_names import metric


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """The demo's config with the test network, on two small datasets, its tokenizers and statistics made."""
    root = tmp_path_factory.mktemp("run")
    write_fake_dataset(root / "new")
    write_fake_dataset(root / "old", episodes=4, frames=10, seed=1, version="v2.1")
    parts = (DataPart(root=root / "new", weight=1), DataPart(root=root / "old", weight=2, exclude_episodes=(1,)))
    demo = load_config("demo")
    small = replace(
        demo,
        model=replace(TEST, vocab_size=demo.model.vocab_size),
        data=replace(
            demo.data,
            root=None,
            parts=parts,
            held_out_every=4,
            max_token_len=160,
            max_supervised=96,
            augmentation="intended",
        ),
        optimizer=OptimizerConfig(peak_lr=3e-3, end_lr=1e-3, warmup_steps=1, decay_steps=50, ema_decay=0.98),
        assets=root / "assets",
        batch_size=8,
        steps=4,
        checkpoint=CheckpointConfig(root=root / "checkpoints", every=2),
        logging=LoggingConfig(every=1),
        evaluation=EvaluationConfig(every=2, samples=8, decode_every=4, decode_samples=3),
    )
    compute_stats(small)
    fit_tokenizers(small)
    return small


@pytest.fixture(scope="module")
def straight(config: TrainConfig) -> TrainConfig:
    run = replace(config, exp_name="straight")
    train(run)
    return run


def rows(config: TrainConfig) -> list[dict[str, float]]:
    """The log of a run without times."""
    logged = read_json_lines(config.checkpoint_dir / "metrics.jsonl")
    return [{k: v for k, v in row.items() if k not in ("time", *THROUGHPUT)} for row in logged]


@pytest.fixture(scope="module")
def preempted(config: TrainConfig, straight: TrainConfig) -> TrainConfig:
    """The straight run with a log line every third step, ended by SIGTERM at step 3; checkpoints at 2 and 3."""
    evaluation = replace(straight.evaluation, every=4)
    run = replace(config, exp_name="preempted", logging=LoggingConfig(every=3), evaluation=evaluation)
    asked, before = Preemption.asked, signal.getsignal(signal.SIGTERM)

    def ask(self: Preemption, step: int) -> bool:
        if step == 3:
            signal.raise_signal(signal.SIGTERM)
        return asked(self, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Preemption, "asked", ask)
        with pytest.raises(PreemptedError, match=r"saved at step 3\. Continue with `--exp-name preempted --resume`"):
            train(run)
    assert signal.getsignal(signal.SIGTERM) is before
    return run


def assert_as_straight(run: TrainConfig, straight: TrainConfig) -> None:
    """The log is that of the straight run, whose steps 2 and 3 share a line; parameters are bit-equal."""
    first, second, third, last = rows(straight)
    shared = {k: float(np.mean([second[k], v])) for k, v in third.items()}
    assert rows(run) == [first, {**shared, "step": 3}, last]
    ours, theirs = read_params(run.checkpoint_dir / "4"), read_params(straight.checkpoint_dir / "4")
    assert ours.keys() == theirs.keys()
    for path, value in theirs.items():
        np.testing.assert_array_equal(ours[path], value, err_msg=path)


def test_sigterm_saves_and_the_run_continues_bit_equal(preempted: TrainConfig, straight: TrainConfig) -> None:
    run = replace(preempted, exp_name="continued", resume=True)
    shutil.copytree(preempted.checkpoint_dir, run.checkpoint_dir)
    train(run)
    assert_as_straight(run, straight)


def test_a_killed_run_continues_bit_equal_from_a_checkpoint_between_two_lines(
    preempted: TrainConfig, straight: TrainConfig
) -> None:
    run = replace(preempted, exp_name="killed", resume=True)
    shutil.copytree(preempted.checkpoint_dir, run.checkpoint_dir)
    shutil.rmtree(run.checkpoint_dir / "3")  # as if it had been killed after step 2; step 3 has a line already
    with (run.checkpoint_dir / "metrics.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"st')  # cut off
    train(run)
    assert_as_straight(run, straight)


@pytest.mark.slow
def test_microbatches_are_the_same_batch(config: TrainConfig) -> None:
    run = prepare(config)
    arrays = [run.transform(run.source[n], np.random.default_rng(n)) for n in range(8)]
    batch = to_batch({k: np.stack([a[k] for a in arrays]) for k in arrays[0]}, batch_sharding(run.mesh))
    params = init_state(config).params
    gradient, metrics = jax.jit(make_gradient(config))(params, batch)
    again, accumulated = jax.jit(make_gradient(replace(config, grad_accum_steps=4)))(params, batch)
    assert metrics.keys() == accumulated.keys()
    for name, value in metrics.items():
        np.testing.assert_allclose(accumulated[name], value, rtol=1e-5, err_msg=name)
    scale = max(float(np.abs(value).max()) for value in jax.tree.leaves(gradient))
    for path, value in flatten_dict(gradient, sep="/").items():
        np.testing.assert_allclose(
            flatten_dict(again, sep="/")[path], value, rtol=1e-4, atol=1e-6 * scale, err_msg=path
        )


def test_microbatches_add_up_to_the_batch(config: TrainConfig, monkeypatch) -> None:
    """The arithmetic, with a loss of one parameter in place of the network's."""
    batch = Batch(
        images={},
        image_mask={},
        ids=jnp.zeros((8, 1), int),
        valid=jnp.ones((8, 1), bool),
        block=jnp.zeros((8, 1), int),
        target_at=jnp.zeros((8, 2), int),
        target_weight=jnp.arange(16.0).reshape(8, 2),
        target_kind=jnp.array([[2, 2], [1, 2], [2, 0], [0, 0], [2, 2], [1, 1], [2, 2], [2, 2]]),
    )

    def loss(params: dict, batch: Batch, _: Objective) -> tuple:
        of_kind = batch.target_kind == TARGET_ACTION
        rows = (params["a"] * batch.target_weight).sum(axis=1) ** 2
        count = of_kind.sum()
        return rows.mean(), {
            "loss": rows.mean(),
            "action_loss": jnp.where(count > 0, (batch.target_weight * of_kind).sum() / count, jnp.nan),
        }

    monkeypatch.setattr(state, "loss", loss)
    monkeypatch.setattr(state, "with_params", lambda _, params: params)
    params = {"a": jnp.float32(0.5)}
    whole, metrics = jax.jit(make_gradient(config))(params, batch)
    for count in (2, 4, 8):
        gradient, accumulated = jax.jit(make_gradient(replace(config, grad_accum_steps=count)))(params, batch)
        np.testing.assert_allclose(gradient["a"], whole["a"], rtol=1e-6)
        for name, value in metrics.items():
            np.testing.assert_allclose(accumulated[name], value, rtol=1e-6)


def test_microbatches_must_divide_the_batch(config: TrainConfig) -> None:
    with pytest.raises(ValueError, match="grad_accum_steps=3 must divide batch_size=8"):
        replace(config, grad_accum_steps=3)


def test_the_loss_falls(straight: TrainConfig) -> None:
    rows = read_json_lines(straight.checkpoint_dir / "metrics.jsonl")
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert {"answer_loss", "action_loss", "held_out_answer_loss", "held_out_action_loss"} <= set(rows[-1])
    assert not [name for name in rows[-1] if metric(name).group == "other" and name not in ("step", "time")]


@pytest.fixture(scope="module")
def policy(straight: TrainConfig) -> InspirePolicy:
    return InspirePolicy.load(straight.checkpoint_dir)


def test_the_checkpoint_alone_makes_a_policy(policy: InspirePolicy) -> None:
    chunk = policy.infer({**policy.robot.fake_native(), "prompt": "put the red block on the plate"})
    assert chunk.actions is not None
    assert [a.target for a in chunk.answers] == ["the red block", "the plate"]


class Echo:
    """A decoder that gives scripted words and always the mean action."""

    def __init__(self, policy: InspirePolicy, words: list[tuple[str, ...]]) -> None:
        self.cameras, self.plan = policy.inputs.cameras, policy.decoder.plan
        self._words = words
        middle = normalize_quantile(
            np.tile(policy.inputs.normalizer.stats["actions"].mean, (10, 1)), policy.inputs.normalizer.stats["actions"]
        )
        self._ids = tuple(policy.vocabulary.action.encode(middle))

    def decode(self, images: dict, rows: list, *_: object, **__: object) -> list[Decoded]:
        words = [self._words.pop(0) for _ in rows]
        return [
            Decoded(
                answers=row,
                answer_probabilities=(1.0,) * len(row),
                action_ids=self._ids,
                action_log_probability=0,
            )
            for row in words
        ]


def test_held_out_metrics_by_hand(straight: TrainConfig, policy: InspirePolicy, monkeypatch) -> None:
    source = open_source(straight, "held_out")
    samples = [source[0], source[len(source) - 1]]
    truth = [true_answers(policy.script, policy.inputs.prompt_fields(s.observation, PHRASES), s.facts) for s in samples]
    assert truth[1][0] == "grasped"
    monkeypatch.setattr(policy, "decoder", Echo(policy, [truth[0], ("back", "back")]))
    result, _ = evaluate_held_out(policy, samples, unlabelled="refuse", rows=1)
    flat = [word for row in truth for word in row]
    assert result.answer_accuracy == (2 + list(truth[1]).count("back")) / 4
    assert result.answer_majority_baseline == max(flat.count(word) for word in flat) / 4
    mean = policy.inputs.normalizer.stats["actions"].mean
    by_hand = np.mean([np.abs(s.actions - mean) for s in samples])
    np.testing.assert_allclose(result.action_error_mean_baseline, by_hand, rtol=1e-6)
    # The echoed chunk is the mean action but for the tokenizer's resolution.
    np.testing.assert_allclose(result.action_error, by_hand, atol=0.02)
    np.testing.assert_allclose(np.mean(result.action_error_by_dim), result.action_error, rtol=1e-6)


@pytest.mark.parametrize(("max_targets", "asked"), [(None, PHRASES), (1, PHRASES[:1])])
def test_held_out_samples_are_asked_what_training_asks(
    straight: TrainConfig, policy: InspirePolicy, monkeypatch, max_targets: int | None, asked: tuple[str, ...]
) -> None:
    """In the instruction's order and number, whatever the labels' order, and without a thing that it does not name."""
    sample = open_source(straight, "held_out")[0]
    assert sample.facts is not None
    block, plate = sample.facts.targets
    assert block.offset_m is not None
    lamp = replace(block, phrase="the lamp", offset_m=-block.offset_m)
    mixed = replace(sample, facts=replace(sample.facts, targets=(plate, lamp, block)))
    monkeypatch.setattr(policy, "script", replace(policy.script, max_targets=max_targets))
    fields = policy.inputs.prompt_fields(sample.observation, asked)
    truth = true_answers(policy.script, fields, sample.facts)
    monkeypatch.setattr(policy, "decoder", Echo(policy, [truth]))
    result, (example,) = evaluate_held_out(policy, [mixed], unlabelled="refuse", keep=1)
    assert tuple(target for _, target, *_ in example.dialogue) == asked
    assert result.answer_accuracy == 1
    facts = facts_of(policy.script, mixed, "refuse")
    assert facts is not None
    assert tuple(target.phrase for target in facts.targets) == asked
    with pytest.raises(ValueError, match="no facts about"):
        evaluate_held_out(policy, [replace(sample, facts=None)], unlabelled="refuse", keep=0)
    monkeypatch.setattr(policy, "decoder", Echo(policy, [()]))
    assert (
        evaluate_held_out(policy, [replace(sample, facts=None)], unlabelled="ask_nothing", keep=1)[1][0].dialogue == ()
    )


@pytest.fixture
def nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling takes minutes on real networks: what can be refused without it is."""
    monkeypatch.setattr(
        loop, "compile_step", lambda *_: pytest.fail("The step was compiled before the run was refused.")
    )


def test_a_run_of_another_contract_is_not_continued(straight: TrainConfig, nothing_compiled: None) -> None:
    other = replace(
        straight, resume=True, steps=6, dialogue=DialogueConfig(question_parameters={"direction": {"grasped": "catch"}})
    )
    with pytest.raises(
        ValueError, match=r"another contract.*\n.*questions\.0\.parameters\.grasped: 'grasped' and 'catch'"
    ):
        train(other)
    for change, words in (
        ({"optimizer": replace(straight.optimizer, ema_decay=None)}, r"optimizer\.ema_decay: 0\.98 and None"),
        ({"data": replace(straight.data, augmentation="none")}, r"data\.augmentation: 'intended' and 'none'"),
        ({"freeze": FreezeConfig(what="vision")}, "freeze"),
    ):
        with pytest.raises(ValueError, match=rf"another contract.*\n.*{words}"):
            train(replace(straight, resume=True, steps=6, **change))


def test_a_run_goes_on_without_the_checkpoint_that_it_began_with(straight: TrainConfig, tmp_path: Path) -> None:
    gone = replace(straight, init_from=tmp_path / "gone")
    assert prepare(replace(gone, resume=True)).config.resume
    with pytest.raises(FileNotFoundError, match="gone"):
        prepare(replace(gone, exp_name="new", resume=True))


def test_overwriting_begins_only_when_the_new_run_can(straight: TrainConfig) -> None:
    broken = replace(straight, overwrite=True, optimizer=replace(straight.optimizer, warmup_steps=99))
    with pytest.raises(ValueError, match="must be less than"):
        train(broken)
    assert (straight.checkpoint_dir / "4").is_dir()


def test_a_broken_loss_stops_the_run() -> None:
    with pytest.raises(FloatingPointError, match="gradient norm inf"):
        require_finite([{"loss": 1.0, "grad_norm": 1.0}, {"loss": 1.0, "grad_norm": np.inf}])


def test_a_run_over_other_parts_is_not_continued(straight: TrainConfig, nothing_compiled: None) -> None:
    first, second = straight.data.parts
    for parts in ((replace(first, weight=2), second), (second, first), (first, replace(second, exclude_episodes=()))):
        other = replace(straight, resume=True, steps=6, data=replace(straight.data, parts=parts))
        with pytest.raises(ValueError, match=r"another stream.*'mixture'"):
            train(other)
    assert (straight.checkpoint_dir / "4").is_dir()


def test_a_checkpoint_says_what_it_was_trained_on(straight: TrainConfig) -> None:
    contract = Contract.read(straight.checkpoint_dir / "4" / "assets")
    checkout = (Path(__file__).parents[2] / ".git").exists() and shutil.which("git")
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?" if checkout else "", contract.revision)
    stored = contract.config["data"]
    kept = [(part["name"], part["weight"], part["exclude_episodes"]) for part in stored["parts"]]
    assert kept == [("new", 1, []), ("old", 2, [1])]
    assert str(straight.assets.parent) not in json.dumps(stored), "no machine paths"


def test_an_existing_run_is_not_overwritten_by_chance(straight: TrainConfig) -> None:
    with pytest.raises(FileExistsError, match="--resume"):
        train(straight)


def test_what_is_missing_names_the_command(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"compute_norm_stats\.py demo --data\.parts .*/new:1 '\{.*\[1\].*--assets"
    ):
        train(replace(config, assets=tmp_path))
    with pytest.raises(FileNotFoundError, match=r"meta/info\.json"):
        train(replace(config, data=replace(config.data, root=tmp_path / "absent", parts=())))


def test_a_dialogue_that_does_not_fit_is_refused(config: TrainConfig) -> None:
    short = replace(config, exp_name="short", data=replace(config.data, max_token_len=40))
    with pytest.raises(ValueError, match="nothing is cut"):
        train(short)


def test_the_command_explains_itself() -> None:
    root = Path(__file__).parents[2]
    finished = subprocess.run(
        [sys.executable, root / "scripts/train.py", "demoo"],
        check=False,
        capture_output=True,
        encoding="utf-8",
        cwd=root,
    )
    assert finished.returncode == 2
    assert "Did you mean 'demo'?" in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize(
    ("arguments", "words"), [(["debug", "--data.root", "absent"], "meta/info.json"), ([], "configs: debug, demo")]
)
def test_errors_are_printed_without_a_traceback(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_with_config(train_command, arguments)
    said = f"{ended.value.code}{capsys.readouterr().err}"
    assert words in said
    assert "Traceback" not in said


EIGHT_DEVICES = """
import dataclasses, json, signal, sys
from pathlib import Path
from inspire_fast.models.config import TEST
from inspire_fast.training.config import (
    CheckpointConfig,
    DistributedConfig,
    EvaluationConfig,
    LoggingConfig,
    MeshConfig,
    OptimizerConfig,
)
from inspire_fast.training.named_configs import load_config
from inspire_fast.training.distributed import join
from inspire_fast.training.loop import train
from inspire_fast.training.dataset_config import DataPart
from inspire_fast.training.preemption import PreemptedError, Preemption
import jax
root, exp_name, port, processes, process, steps, decode_every = Path(sys.argv[1]), *sys.argv[2:]
if processes != "1":
    join(DistributedConfig(coordinator=f"127.0.0.1:{port}", processes=int(processes), process=int(process)))
assert (jax.device_count(), jax.process_count()) == (8, int(processes))
demo = load_config("demo")
config = dataclasses.replace(
    demo,
    model=dataclasses.replace(TEST, vocab_size=demo.model.vocab_size),
    data=dataclasses.replace(
        demo.data, root=None,
        parts=(DataPart(root=root / "new", weight=1), DataPart(root=root / "old", weight=2, exclude_episodes=(1,))),
        held_out_every=4, max_token_len=160, max_supervised=96, augmentation="intended",
    ),
    optimizer=OptimizerConfig(peak_lr=3e-3, end_lr=1e-3, warmup_steps=1, decay_steps=50, ema_decay=0.98),
    assets=root / "assets", batch_size=8, steps=int(steps), exp_name=exp_name, mesh=MeshConfig(fsdp=2, tensor=2),
    checkpoint=CheckpointConfig(root=root / "checkpoints", every=0), logging=LoggingConfig(every=1),
    evaluation=EvaluationConfig(every=2, samples=8, decode_every=int(decode_every), decode_samples=2),
)
if steps != "2":  # the second process is told to end at its third step
    asked = Preemption.asked
    def ask(self, step):
        if process == "1" and step == 3:
            signal.raise_signal(signal.SIGTERM)
        return asked(self, step)
    Preemption.asked = ask
try:
    train(config)
except PreemptedError:
    sys.exit(143)
"""


def eight_devices(
    root: Path, exp_name: str, processes: int, *, steps: int = 2, decode_every: int = 0, status: int = 0
) -> list[dict[str, float]]:
    """The log of two steps on eight devices of several processes that end with `status`; more steps are interrupted."""
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={8 // processes}"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                EIGHT_DEVICES,
                str(root),
                exp_name,
                str(port),
                str(processes),
                str(n),
                str(steps),
                str(decode_every),
            ],
            env=environment,
        )
        for n in range(processes)
    ]
    try:
        assert [process.wait(300) for process in running] == [status] * processes
    finally:
        for process in running:
            process.kill()
    return read_json_lines(root / "checkpoints" / "demo" / exp_name / "metrics.jsonl")


@pytest.mark.parametrize(
    ("processes", "decode_every"),
    [pytest.param(1, 2, marks=pytest.mark.slow), (2, 0), pytest.param(2, 2, marks=pytest.mark.slow)],
)
def test_eight_devices_agree_with_one(
    config: TrainConfig, straight: TrainConfig, processes: int, decode_every: int
) -> None:
    root, name = config.assets.parent, f"eight-{processes}-{decode_every}"
    eight = eight_devices(root, name, processes, decode_every=decode_every)
    one = read_json_lines(straight.checkpoint_dir / "metrics.jsonl")
    assert len(eight) == 2
    for row, reference in zip(eight, one[:2], strict=True):
        for key in ("loss", "answer_loss", "action_loss", "grad_norm", "held_out_answer_loss", "held_out_action_loss"):
            if key in row or not key.startswith("held_out"):
                rtol = 1e-5 if row["step"] == 1 else 1e-4
                np.testing.assert_allclose(row[key], reference[key], rtol=rtol, err_msg=f"{key} at step {row['step']}")
    assert "held_out_action_loss" in eight[1]
    assert ("decoded_action_error" in eight[1]) == ("decoded_answer_accuracy" in eight[1]) == (decode_every > 0)
    # One process on one device goes on where they stopped.
    run = replace(config, exp_name=name, evaluation=replace(config.evaluation, decode_every=0), resume=True)
    train(run)
    rows = read_json_lines(run.checkpoint_dir / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    for row, reference in zip(rows[2:], one[2:], strict=True):
        np.testing.assert_allclose(row["loss"], reference["loss"], rtol=1e-4)


@pytest.mark.slow
def test_processes_end_together_when_one_is_told_to(config: TrainConfig) -> None:
    """They ask each other at every tenth step."""
    rows = eight_devices(config.assets.parent, "told", 2, steps=12, status=143)
    assert [row["step"] for row in rows] == list(range(1, 11))
    assert (config.checkpoint.root / "demo" / "told" / "10" / "params").is_dir()
