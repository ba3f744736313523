"""Initial parameters: a run starts with the checkpoint's function; openpi reads our checkpoints."""

from dataclasses import replace
from pathlib import Path

from flax import nnx, traverse_util
import fsspec
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from inspire_fast.checkpoints.params.lerobot import to_lerobot
from inspire_fast.checkpoints.params.orbax import write_params
from inspire_fast.checkpoints.params.safetensors import write_safetensors
from inspire_fast.checkpoints.reading import load_model, open_params, read_params
from inspire_fast.core.batch import TARGET_ACTION, Batch
from inspire_fast.models.config import GEMMA_2B
from inspire_fast.models.freeze import FreezeConfig
from inspire_fast.models.loss import loss
from inspire_fast.models.openpi.params import TABLE, flat_params
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.models.testing import random_images, random_model
from inspire_fast.policy.testing import random_params
from inspire_fast.training.checkpoint_writer import Checkpoints
from inspire_fast.training.config import CheckpointConfig, MeshConfig, OptimizerConfig, TrainConfig
from inspire_fast.training.init_params import check_initial, initial_state, saw_actions
from inspire_fast.training.named_configs import load_config
from inspire_fast.training.sharding import make_mesh, state_shardings
from inspire_fast.training.state import TrainState, init_state, with_params
from tests.checkpoints.written import LORA, TEST, assert_equal

PARAMS = random_params(TEST, seed=4)


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    """A run that starts from a checkpoint in the released layout."""
    write_params(tmp_path / "base", PARAMS)
    short = replace(load_config("debug"), model=TEST, optimizer=OptimizerConfig(warmup_steps=1, ema_decay=0.9), steps=5)
    return replace(short, checkpoint=CheckpointConfig(root=tmp_path / "runs"), init_from=tmp_path / "base")


def begin(config: TrainConfig) -> TrainState:
    shapes = jax.eval_shape(lambda: init_state(config))
    return initial_state(config, state_shardings(shapes, make_mesh(MeshConfig())))


def by_upstream(params: dict) -> dict[str, np.ndarray]:
    return {TABLE[k]: np.asarray(v) for k, v in traverse_util.flatten_dict(params, sep="/").items()}


def batch() -> Batch:
    rows, length = 2, 12
    rng = np.random.default_rng(0)
    return Batch(
        images=random_images(TEST, rows),
        image_mask=dict.fromkeys(TEST.cameras, np.ones(rows, bool)),
        ids=rng.integers(4, TEST.vocab_size, (rows, length), dtype=np.int32),
        valid=np.ones((rows, length), bool),
        block=np.tile(np.maximum(np.arange(length) - 5, 0), (rows, 1)).astype(np.int32),
        target_at=np.tile(np.arange(7, 12), (rows, 1)).astype(np.int32),
        target_weight=np.ones((rows, 5), np.float32),
        target_kind=np.full((rows, 5), TARGET_ACTION, np.int8),
    )


def test_a_run_starts_with_the_loss_of_its_checkpoint(config: TrainConfig) -> None:
    program = jax.jit(lambda params, rows: loss(with_params(config.model, params), rows)[0])

    def evaluate(params: dict) -> jax.Array:
        return program(jax.tree.map(np.asarray, params), batch())  # whatever the placement, one program

    checkpoint = load_model(config.init_from, TEST, dtype="float32")
    state = begin(config)
    expected = evaluate(nnx.to_pure_dict(nnx.state(checkpoint, nnx.Param)))
    np.testing.assert_array_equal(evaluate(state.params), expected)
    assert_equal(by_upstream(state.params), PARAMS)
    assert_equal(by_upstream(state.ema), PARAMS)
    assert int(state.step) == 0


def test_a_lora_network_starts_from_a_full_checkpoint(config: TrainConfig) -> None:
    state = begin(replace(config, model=LORA, freeze=FreezeConfig(what="language")))
    halves = {k: v for k, v in by_upstream(state.params).items() if "lora" in k}
    assert len(halves) == len(random_params(LORA)) - len(PARAMS)
    assert all(np.any(v) == ("lora_a" in k) for k, v in halves.items())  # so that it computes what its base does
    for path, value in by_upstream(state.params).items():
        frozen = "/llm/" in path and "lora" not in path
        assert value.dtype == ("bfloat16" if frozen else "float32"), path
        if path in PARAMS:
            np.testing.assert_array_equal(value, PARAMS[path].astype(value.dtype))
    ema = by_upstream(state.ema or {})
    assert ema.keys() == {k for k, v in by_upstream(state.params).items() if v.dtype == "float32"}


def test_paligemma_is_a_start(config: TrainConfig, tmp_path: Path) -> None:
    names = {k.replace("PaliGemma/", "params/"): v for k, v in PARAMS.items()}
    np.savez(tmp_path / "pt_224.npz", **names)
    assert_equal(by_upstream(begin(replace(config, init_from=tmp_path / "pt_224.npz")).params), PARAMS)
    np.savez(tmp_path / "wide.npz", **names | {"params/llm/embedder/input_embedding": np.zeros((9, 32), np.float32)})
    with pytest.raises(ValueError, match=r"input_embedding is \(9, 32\), the network has \(512, 32\)"):
        check_initial(replace(config, init_from=tmp_path / "wide.npz"))


def test_lerobots_policy_is_a_start(config: TrainConfig, tmp_path: Path) -> None:
    theirs = to_lerobot(open_params(tmp_path / "base"))
    write_safetensors(tmp_path / "pi0_fast" / "model.safetensors", theirs)
    run = replace(config, init_from=tmp_path / "pi0_fast")
    check_initial(run)
    assert_equal(by_upstream(begin(run).params), PARAMS)


def test_lerobots_ids_of_actions_are_in_its_configuration(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    run = replace(load_config("inspire_small_libero"), model=GEMMA_2B, init_from=tmp_path)
    for skip, known in (("", True), (', "fast_skip_tokens": 128', True), (', "fast_skip_tokens": 64', False)):
        (tmp_path / "config.json").write_text(f'{{"type": "pi0_fast"{skip}}}', encoding="utf-8")
        if known:
            assert saw_actions(run)
        else:
            with pytest.raises(ValueError, match=r"trained on actions with 64\. Set vocab_skip=64, or start"):
                saw_actions(run)
    (tmp_path / "config.json").write_text('{"type": ', encoding="utf-8")
    with pytest.raises(ValueError, match=r"config\.json is no policy's configuration, or cut off"):
        saw_actions(run)


def test_an_address_is_a_start(config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENPI_DATA_HOME", str(tmp_path / "cache"))
    bucket = fsspec.filesystem("memory")
    bucket.put(f"{config.init_from}/", "/assets/base/", recursive=True)
    run = replace(config, init_from="memory://assets/base")
    check_initial(run)
    bucket.rm("/assets", recursive=True)  # the copy is there by now
    assert_equal(by_upstream(begin(run).params), PARAMS)


def test_what_cannot_be_started_from_is_found_before_the_run_begins(config: TrainConfig, tmp_path: Path) -> None:
    check_initial(config)
    check_initial(replace(config, init_from=None))
    with pytest.raises(FileNotFoundError, match="absent"):
        check_initial(replace(config, init_from=tmp_path / "absent"))
    write_params(tmp_path / "part", {k: v for k, v in random_params(LORA).items() if "gating_einsum_lora_b" not in k})
    with pytest.raises(ValueError, match=r"1 differences:\n  missing: .*gating_einsum_lora_b"):
        check_initial(replace(config, model=LORA, init_from=tmp_path / "part"))
    with pytest.raises(ValueError, match=r"unknown: .*lora"):
        check_initial(replace(config, init_from=tmp_path / "part"))


def test_checkpoints_of_ours_are_in_the_released_layout(config: TrainConfig) -> None:
    model = random_model(TEST, 3)
    params = traverse_util.unflatten_dict({k: v.get_value() for k, v in flat_params(model).items()}, sep="/")
    state = TrainState(step=jnp.int32(1), params=params, ema=None, opt_state=())
    checkpoints = Checkpoints(config.checkpoint_dir, keep=2)
    checkpoints.save(state, loader={}, files={"assets.txt": b""})
    checkpoints.close()
    step = config.checkpoint_dir / "1"
    with ocp.PyTreeCheckpointer() as checkpointer:  # the calls of openpi's `restore_params`
        tree = {"params": checkpointer.metadata(step.resolve() / "params").item_metadata.tree["params"]}
        args = jax.tree.map(lambda _: ocp.ArrayRestoreArgs(restore_type=np.ndarray), tree)
        restored = checkpointer.restore(step.resolve() / "params", ocp.args.PyTreeRestore(item=tree, restore_args=args))
    expected = by_upstream(params)
    assert_equal(traverse_util.flatten_dict(restored["params"], sep="/"), expected)
    assert_equal(read_params(config.checkpoint_dir), expected)
    shapes = nnx.eval_shape(lambda: Pi0Fast(TEST, rngs=nnx.Rngs(0)))
    assert set(expected) == {TABLE[path] for path in flat_params(shapes)}
