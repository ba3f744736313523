"""Parameters on disk in every format: what is read is what was written, and what does not fit is named at once."""

from collections.abc import Callable
from dataclasses import replace
import json
from pathlib import Path

from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from inspire_fast.checkpoints.params.base import is_lora, overlay, selection
from inspire_fast.checkpoints.params.merged_lora import merged
from inspire_fast.checkpoints.params.npz import open_npz
from inspire_fast.checkpoints.params.orbax import open_orbax, write_params
from inspire_fast.checkpoints.params.safetensors import open_safetensors, write_safetensors
from inspire_fast.checkpoints.reading import find_step, identity, load_model, open_params, read_params
from inspire_fast.models.inference.merge_lora import merge_lora
from inspire_fast.models.openpi.params import TABLE, to_openpi
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.policy.testing import random_params
from tests.checkpoints.written import LORA, TEST, assert_equal
from tests.models.params import network_of

PARAMS = random_params(TEST)


def held(model: Pi0Fast) -> dict[str, np.ndarray]:
    return {path: np.asarray(value) for path, value in to_openpi(model).items()}


def write_npz(path: Path, params: dict[str, np.ndarray], **others: np.ndarray) -> Path:
    """As big_vision writes PaliGemma."""
    np.savez(path, **{k.replace("PaliGemma/", "params/"): v for k, v in params.items()}, **others)
    return path


def write_orbax(path: Path, params: dict[str, np.ndarray]) -> Path:
    write_params(path, params)
    return path


def write_st(path: Path, params: dict[str, np.ndarray]) -> Path:
    save_file(params, path)
    return path


FORMATS: dict[str, tuple[str, Callable[[Path, dict], Path]]] = {
    "orbax": ("step", write_orbax),
    "safetensors": ("file.safetensors", write_st),
    "npz": ("file.npz", write_npz),
}


@pytest.fixture(params=list(FORMATS))
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[dict], Path]:
    name, function = FORMATS[request.param]
    return lambda params: function(tmp_path / name, params)


@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_format_and_dtype(write: Callable[[dict], Path], stored: str, dtype: str) -> None:
    params = {path: value.astype(stored) for path, value in PARAMS.items()}
    path = write(params)
    assert_equal(read_params(path), params)
    assert {p: (leaf.shape, leaf.dtype) for p, leaf in open_params(path).leaves.items()} == {
        p: (v.shape, v.dtype) for p, v in params.items()
    }
    assert_equal(held(load_model(path, TEST, dtype=dtype)), {p: v.astype(dtype) for p, v in params.items()})


def test_the_largest_leaf_comes_first_and_a_selection_reads_no_other(write: Callable[[dict], Path]) -> None:
    stored = open_params(write(PARAMS))
    sizes = [array.nbytes for _, array in stored.stream()]
    assert sizes == sorted(sizes, reverse=True)
    few = {p: v for p, v in PARAMS.items() if "embed" in p}
    assert_equal(dict(stored.stream(None, list(few))), few)
    chosen = selection(stored, [*few, "no such leaf"])
    assert chosen.leaves.keys() == few.keys()
    assert_equal(dict(chosen.stream()), few)


def test_by_default_parameters_are_held_as_the_network_computes(tmp_path: Path) -> None:
    path = write_orbax(tmp_path / "0", PARAMS)
    assert {v.dtype.name for v in held(load_model(path, replace(TEST, dtype="bfloat16"))).values()} == {"bfloat16"}
    assert {v.dtype.name for v in held(load_model(path, TEST)).values()} == {"float32"}


def test_every_difference_is_in_one_error(write: Callable[[dict], Path]) -> None:
    renamed = {p.replace("head/kernel", "head/weight"): v for p, v in PARAMS.items()}
    path = write(renamed | {"PaliGemma/llm/final_norm/scale": np.zeros(7, np.float32)})
    with pytest.raises(ValueError, match="3 differences") as caught:
        load_model(path, TEST)
    for line in (
        "missing: PaliGemma/img/head/kernel",
        "unknown: PaliGemma/img/head/weight",
        "final_norm/scale is (7,)",
    ):
        assert line in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_diverged_checkpoint_is_refused(write: Callable[[dict], Path]) -> None:
    broken = {p: v.copy() for p, v in PARAMS.items()}
    broken["PaliGemma/img/head/bias"][-1] = np.nan
    with pytest.raises(ValueError, match=r"img/head/bias in .* holds NaN"):
        load_model(write(broken), TEST)


def test_what_is_no_checkpoint_says_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="it does not exist"):
        open_params(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="expected a folder `params`"):
        open_params(tmp_path / "empty")
    (tmp_path / "empty" / "params").mkdir()
    with pytest.raises(ValueError, match=r"no file `_METADATA`.*There is: nothing"):
        open_params(tmp_path / "empty")
    (tmp_path / "weights.pt").write_bytes(b"PK")
    with pytest.raises(FileNotFoundError, match=r"weights\.pt: it is a file"):
        find_step(tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"expected a folder, a \.safetensors or a \.npz file"):
        open_params(tmp_path / "weights.pt")
    for suffix in ("safetensors", "npz"):
        with pytest.raises(FileNotFoundError):
            open_params(tmp_path / f"absent.{suffix}")
    np.savez(tmp_path / "stats.npz", mean=np.zeros(3))
    with pytest.raises(ValueError, match=r"holds no parameters: expected names like params/llm.*there are mean"):
        open_npz(tmp_path / "stats.npz")
    save_file({"ids": np.zeros(3, np.int32)}, tmp_path / "ids.safetensors")
    with pytest.raises(ValueError, match=r"no parameters: {'ids': 'I32'}"):
        open_safetensors(tmp_path / "ids.safetensors")


@pytest.mark.parametrize("name", ["file.safetensors", "file.npz"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, name: str, kept: float) -> None:
    path = FORMATS[name.partition(".")[2]][1](tmp_path / name, PARAMS)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=f"{int(kept * len(content)):,} bytes.*incomplete copy.*Copy it again"):
        read_params(path)


def test_a_damaged_entry_of_an_archive_is_refused(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "file.npz", PARAMS)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255  # inside an array: names and shapes are as they were
    path.write_bytes(content)
    with pytest.raises(ValueError, match="incomplete copy"):
        read_params(path)


def test_other_entries_of_an_archive_are_left_aside(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "file.npz", PARAMS, **{"opt/mu": np.zeros(3), "step": np.zeros(())})
    assert_equal(read_params(path), PARAMS)


def test_arrays_whose_files_are_lost_are_not_read_as_zeros(tmp_path: Path) -> None:
    import orbax.checkpoint as ocp

    folder = tmp_path / "0" / "params"
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=False)) as checkpointer:
        tree = {name: np.full((2, 3), n + 1.0, np.float32) for n, name in enumerate("abc")}
        checkpointer.save(folder, args=ocp.args.PyTreeSave({"params": tree | {"scalar": np.float32(1)}}))
    description = json.loads((folder / "_METADATA").read_text(encoding="utf-8"))
    del description["store_array_data_equal_to_fill_value"]  # as older Orbax wrote it
    (folder / "_METADATA").write_text(json.dumps(description), encoding="utf-8")
    assert read_params(tmp_path / "0")["b"].tolist() == tree["b"].tolist()
    for name in "ab":
        (folder / f"params.{name}" / "0.0").unlink()
    with pytest.raises(ValueError, match=r"no data of 2 arrays, only their metadata: a, b\."):
        read_params(tmp_path / "0")


def test_the_train_state_is_not_taken_for_parameters(tmp_path: Path) -> None:
    import orbax.checkpoint as ocp

    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "0" / "train_state", {"step": np.zeros(3), "params": {"a": np.zeros(3)}})
    with pytest.raises(ValueError, match="holds params, step, not parameters"):
        open_orbax(tmp_path / "0" / "train_state")


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_arrays_in_many_pieces_are_whole(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    pieces = data.draw(st.integers(4, 2000))
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    step = tmp_path_factory.mktemp("pieces")
    write_params(step, {"PaliGemma/a": array}, piece_bytes=pieces)
    assert_equal(read_params(step), {"PaliGemma/a": array})


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Did you mean 'released'"):
        write_params(tmp_path, PARAMS, layout="relesed")
    with pytest.raises(ValueError, match="No parameters"):
        write_params(tmp_path, {})
    write_params(tmp_path, PARAMS)
    with pytest.raises(FileExistsError, match="exists"):
        write_params(tmp_path, PARAMS)
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        write_safetensors(tmp_path / "file.pt", open_params(tmp_path))
    with pytest.raises(ValueError, match=r"cannot hold .* as float8"):
        write_safetensors(tmp_path / "a.safetensors", open_params(tmp_path), dtype=jnp.dtype(jnp.float8_e4m3fn))
    assert not list(tmp_path.glob("*.safetensors*"))


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_safetensors_are_everybodys(tmp_path: Path, dtype: str | None) -> None:
    stored = open_params(write_orbax(tmp_path / "0", PARAMS))
    path = write_safetensors(
        tmp_path / "new" / "a.safetensors",
        stored,
        dtype=None if dtype is None else jnp.dtype(dtype),
        metadata={"note": "ü"},
    )
    expected = {p: v.astype(dtype or v.dtype) for p, v in PARAMS.items()}
    assert_equal(load_file(path), expected)  # the reference implementation
    assert_equal(read_params(path), expected)
    assert open_safetensors(path).metadata["note"] == "ü"
    with pytest.raises(FileExistsError):
        write_safetensors(path, stored)


def test_a_checkpoint_is_found_from_its_run_its_step_and_its_params(tmp_path: Path) -> None:
    for number in (9, 10):
        write_params(tmp_path / str(number), {path: value + number for path, value in PARAMS.items()})
    for path in (tmp_path, tmp_path / "10", tmp_path / "10" / "params"):
        assert find_step(path) == tmp_path / "10"
        assert_equal(read_params(path), {path: value + 10 for path, value in PARAMS.items()})


def test_identities_differ_between_checkpoints(tmp_path: Path) -> None:
    steps = [write_orbax(tmp_path / name / "7", PARAMS) for name in "ab"]
    first, second = map(identity, steps)
    assert first.startswith("step 7, ")
    assert first != second


class TestLora:
    """A LoRA checkpoint, whole or in two parts, and merged."""

    full = random_params(LORA, seed=1)

    def parts(self, folder: Path) -> tuple[Path, Path]:
        """The halves and the image tower in one folder, a base with another tower in another."""
        over = {p: v for p, v in self.full.items() if is_lora(p) or "/img/" in p}
        base = {p: v if p not in over else v + 1 for p, v in self.full.items() if not is_lora(p)}
        return write_orbax(folder / "base", base), write_orbax(folder / "lora", over)

    def test_the_parts_make_the_whole(self, tmp_path: Path) -> None:
        base, lora = self.parts(tmp_path)
        assert_equal(held(load_model(lora, LORA, base=base)), self.full)
        together = overlay(open_params(base), open_params(lora))
        assert_equal(
            dict(together.stream(None, ["PaliGemma/img/head/bias"])),
            {"PaliGemma/img/head/bias": self.full["PaliGemma/img/head/bias"]},
        )
        with pytest.raises(ValueError, match="missing: PaliGemma/llm/embedder"):
            load_model(lora, LORA)

    def test_a_full_network_does_not_take_halves(self, tmp_path: Path) -> None:
        halves = sum(map(is_lora, self.full))
        with pytest.raises(ValueError, match=f"{halves} differences"):
            load_model(write_orbax(tmp_path / "0", self.full), TEST)

    @pytest.mark.parametrize("dtype", [None, "bfloat16"])
    def test_merging_while_reading_is_merging(self, tmp_path: Path, dtype: str | None) -> None:
        stored = open_params(write_orbax(tmp_path / "0", self.full))
        expected = held(merge_lora(network_of(LORA, self.full)))
        whole = merged(stored, LORA.language)
        assert whole.leaves.keys() == expected.keys()
        for path, value in whole.stream(None if dtype is None else jnp.dtype(dtype)):
            assert value.dtype == (dtype or "float32")
            np.testing.assert_allclose(value.astype(np.float32), expected[path], rtol=1e-6 if dtype is None else 8e-3)
        changed = [p for p, v in expected.items() if not np.array_equal(v, self.full[p])]
        assert {p.partition("llm/layers/")[2].partition("/")[0] for p in changed} == {"attn", "mlp"}
        with pytest.raises(ValueError, match="nothing to merge"):
            merged(stored, TEST.language)


def test_every_leaf_of_both_networks_is_in_the_table() -> None:
    for config, params in ((TEST, PARAMS), (LORA, TestLora.full)):
        model = nnx.eval_shape(lambda config=config: Pi0Fast(config, rngs=nnx.Rngs(0)))
        assert {TABLE["/".join(map(str, path))] for path, _ in nnx.to_flat_state(nnx.state(model, nnx.Param))} == set(
            params
        )


@pytest.mark.parametrize(
    ("name", "port"),
    [
        ("model.paligemma_with_expert.gemma_expert.model.norm.weight", "a PyTorch pi0 or pi0.5, which"),
        ("model.vlm_with_expert.lm_expert.norm.weight", "a PyTorch network"),
    ],
)
def test_other_networks_of_pytorch_are_told_apart(tmp_path: Path, name: str, port: str) -> None:
    """A list of every array as unknown would say less."""
    arrays = {n: np.zeros(2, np.float32) for n in ("model.paligemma_with_expert.paligemma.lm_head.weight", name)}
    if "paligemma" not in name:
        arrays.pop("model.paligemma_with_expert.paligemma.lm_head.weight")
    save_file(arrays, str(tmp_path / "model.safetensors"))
    for source in (tmp_path, tmp_path / "model.safetensors"):
        with pytest.raises(ValueError, match=rf"holds the parameters of {port}.*Take LeRobot's or openpi's"):
            open_params(source)


def test_a_folder_with_exported_files_asks_for_one(tmp_path: Path) -> None:
    save_file({"PaliGemma/llm/final_norm/scale": np.zeros(2, np.float32)}, str(tmp_path / "mine.safetensors"))
    with pytest.raises(ValueError, match=r"holds \['mine.*name the file itself"):
        open_params(tmp_path)
