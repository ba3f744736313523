"""Checkpoints that openpi itself wrote: read, written back, damaged, and imported into policies.

A case is a folder `params` in some layout; a folder above it has `orbax_layout.json` and `ckpt_params_manifest.json`.
"""

from functools import cached_property
import io
import json
from pathlib import Path
import shutil
from typing import Any

from flax import nnx, traverse_util
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import sentencepiece

from inspire_fast.checkpoints.contract import Contract
from inspire_fast.checkpoints.exporting import export_checkpoint
from inspire_fast.checkpoints.importing import ImportOptions, Tokenizers, import_checkpoint
from inspire_fast.checkpoints.openpi_configs import OpenpiConfig
from inspire_fast.checkpoints.params.base import require_fit, wanted_by
from inspire_fast.checkpoints.params.orbax import layout_of, open_orbax, write_params
from inspire_fast.checkpoints.reading import find_step, load_model, read_params
from inspire_fast.core.types import Status
from inspire_fast.data.normalization.stats import NormStats, save_norm_stats
from inspire_fast.dialogue.testing import random_chunks
from inspire_fast.models.config import ModelConfig
from inspire_fast.models.openpi.params import to_openpi
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.policy.policy import InspirePolicy
from inspire_fast.robots import ROBOTS
from inspire_fast.tokenizers.fast.tokenizer import FastTokenizer
from inspire_fast.tokenizers.text.tokenizer import TextTokenizer
from tests.golden.cases import ROOT, cases, recipe
from tests.golden.network_cases import model_config


def upstream_restore(params: Path) -> dict[str, np.ndarray]:
    """The leaves on disk by `/`-path, read through Orbax alone with the calls that openpi's `restore_params` makes."""
    with ocp.PyTreeCheckpointer() as checkpointer:
        metadata = checkpointer.metadata(params)
        tree = {"params": metadata.item_metadata.tree["params"]}
        args = jax.tree.map(lambda _: ocp.ArrayRestoreArgs(restore_type=np.ndarray), tree)
        restored = checkpointer.restore(params, ocp.args.PyTreeRestore(item=tree, restore_args=args))
    flat: Any = traverse_util.flatten_dict(restored, sep="/")
    return flat


class Case:
    def __init__(self, params: Path) -> None:
        self.step = params.parent
        self.home = next(p for p in params.parents if (p / "orbax_layout.json").is_file())
        self.about = json.loads((self.home / "orbax_layout.json").read_text(encoding="utf-8"))
        self.sections = {k: v for k, v in self.about.items() if isinstance(v, dict) and "on_disk_leaves" in v}

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        return recipe().load_params(json.loads((self.home / "ckpt_params_manifest.json").read_text(encoding="utf-8")))

    @property
    def section(self) -> dict:
        """What is said about this very checkpoint: the section that its path names."""
        return next(v for k, v in self.sections.items() if k in self.step.relative_to(self.home).parts)

    def network(self, cameras: tuple[str, ...] = ("base_0_rgb",)) -> ModelConfig:
        return model_config(self.about, cameras)

    def damaged(self, folder: Path) -> Path:
        """A copy that may be written to."""
        shutil.copytree(self.step / "params", folder / "params", copy_function=shutil.copyfile)
        return folder


@pytest.fixture(
    scope="module", params=cases("**/params/_METADATA", "{0.parent.parent.parent.name}-{0.parent.parent.name}")
)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param.parent)


def assert_equal(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        assert found[path].dtype == value.dtype, path
        np.testing.assert_array_equal(found[path], value, err_msg=path)


def test_reading_is_bit_equal(case: Case) -> None:
    assert_equal(read_params(case.step), case.arrays)
    assert sorted(read_params(case.step)) == sorted(case.section["restore_params_keys"])


def test_the_network_holds_them_in_the_dtype_asked_for(case: Case) -> None:
    config = case.network()
    for dtype in ("float32", "bfloat16"):
        held = to_openpi(load_model(case.step, config, dtype=dtype))
        assert_equal({k: np.asarray(v) for k, v in held.items()}, {k: v.astype(dtype) for k, v in case.arrays.items()})


def test_both_layouts_are_written_as_openpi_reads_them(case: Case, tmp_path: Path) -> None:
    for name, section in case.sections.items():
        described = section["on_disk_leaves"]
        layout = "trained" if all(path.endswith("/value") for path in described) else "released"
        written = upstream_restore(write_params(tmp_path / name, case.arrays, layout=layout))
        assert {path: f"{value.shape} {value.dtype}" for path, value in written.items()} == described
        stripped = {p.removeprefix("params/").removesuffix("/value"): v for p, v in written.items()}
        assert_equal(stripped, case.arrays)
        assert layout_of(tmp_path / name) == layout


def test_whatever_file_is_lost_or_cut_off_nothing_wrong_is_read(case: Case, tmp_path: Path) -> None:
    files = [p.relative_to(case.step / "params") for p in sorted((case.step / "params").rglob("*")) if p.is_file()]
    refused = []
    for number, (file, damage) in enumerate((f, d) for f in files for d in ("lost", "cut", "empty")):
        copy = case.damaged(tmp_path / str(number))
        content = (copy / "params" / file).read_bytes()
        (copy / "params" / file).unlink()
        if damage != "lost":
            (copy / "params" / file).write_bytes(content[: len(content) // 2 if damage == "cut" else 0])
        try:
            assert_equal(read_params(copy), case.arrays)
        except ValueError as error:
            assert str(copy) in str(error)  # noqa: PT017
            assert "incomplete copy" in str(error) or "Copy it again" in str(error)  # noqa: PT017
            refused.append((file.name, damage))
    assert {("_METADATA", d) for d in ("lost", "cut", "empty")} <= set(refused)
    largest = max(files, key=lambda f: (case.step / "params" / f).stat().st_size)
    assert {(largest.name, d) for d in ("lost", "cut", "empty")} <= set(refused)


def test_another_width_is_one_error(case: Case) -> None:
    own = case.network()
    g = case.about["gemma"]
    other = model_config({**case.about, "gemma": {**g, "width": 2 * g["width"]}}, own.cameras)
    with pytest.raises(ValueError, match="does not fit the network") as caught:
        load_model(case.step, other)
    for path, leaf in wanted_by(nnx.eval_shape(lambda: Pi0Fast(other, rngs=nnx.Rngs(0)))).items():
        differs = leaf.shape != case.arrays[path].shape
        assert (f"{path} is {case.arrays[path].shape}, the network has {leaf.shape}" in str(caught.value)) == differs


def with_stats(case: Case, folder: Path) -> tuple[Path, OpenpiConfig]:
    """The checkpoint with statistics, as openpi's users have it: its own, or invented ones."""
    step = case.damaged(folder / "source")
    robot, asset = ROBOTS["inspire_arm"], "some/asset"
    stored = sorted((case.step / "assets").rglob("norm_stats.json"))
    for file in stored:
        entries = json.loads(file.read_text(encoding="utf-8"))["norm_stats"]
        dims = tuple(len(entries[key]["mean"]) for key in ("state", "actions"))
        fitting = [r for r in map(ROBOTS.__getitem__, ROBOTS) if (r.state_dim, r.action_dim) == dims]
        if fitting:
            robot, asset = fitting[0], str(file.parent.relative_to(case.step / "assets"))
            shutil.copytree(case.step / "assets", step / "assets", copy_function=shutil.copyfile)
            break
    else:
        dims = {"state": robot.state_dim, "actions": robot.action_dim}
        ends = {k: (np.full(n, -1.0), np.full(n, 1.0)) for k, n in dims.items()}
        stats = {k: NormStats(mean=(a + b) / 2, std=(b - a) / 2, q01=a, q99=b) for k, (a, b) in ends.items()}
        save_norm_stats(step / "assets" / asset, stats)
    return step, OpenpiConfig(
        robot=robot.name, horizon=3, max_token_len=case.about["max_token_len"], asset_id=asset, vocab_skip=0
    )


def tokenizers_for(vocab_size: int, robot: str, folder: Path) -> Path:
    """Text as single characters and a coarse FAST: together at most `vocab_size` ids, which may be very few."""
    text = io.BytesIO()
    prompt = ROBOTS[robot].fake_native()["prompt"]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([f"Task: {prompt}, State: 0123456789-;", "Action: "] * 4),
        model_writer=text,
        model_type="char",
        vocab_size=vocab_size,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,  # else text of spaces alone has no ids
        user_defined_symbols=["|", "\n"],
        minloglevel=2,
    )
    folder.mkdir()
    (folder / "paligemma_tokenizer.model").write_bytes(text.getvalue())
    room = min(vocab_size - TextTokenizer.load(folder).vocab_size, 40)
    reach = (room - 1) // 2
    chunks = random_chunks(20, 3, ROBOTS[robot].action_dim) * 0.1
    FastTokenizer.fit(chunks, vocab_size=room, scale=1.0, coefficient_range=(-reach, reach)).save(folder)
    return folder


def test_an_imported_checkpoint_serves_and_goes_back(case: Case, tmp_path: Path) -> None:
    step, config = with_stats(case, tmp_path)
    before = {p: p.stat().st_mtime_ns for p in step.rglob("*")}
    tokenizers = tokenizers_for(case.about["gemma"]["vocab_size"], config.robot, tmp_path / "tokenizers")
    out = import_checkpoint(
        step,
        config,
        tmp_path / "ours",
        tokenizers=Tokenizers(text=tokenizers, action=tokenizers),
        options=ImportOptions(model=case.network()),
    )
    assert {p: p.stat().st_mtime_ns for p in step.rglob("*")} == before
    contract = Contract.read(out / "assets")
    assert contract.asset_id == config.asset_id
    assert (
        contract.stats["state"]["q99"]
        == json.loads((step / "assets" / config.asset_id / "norm_stats.json").read_text(encoding="utf-8"))[
            "norm_stats"
        ]["state"]["q99"]
    )

    policy = InspirePolicy.load(out, dtype="float32")
    network = load_model(out, policy.contract.model, dtype="float32")
    assert_equal({k: np.asarray(v) for k, v in to_openpi(network).items()}, case.arrays)
    chunk = policy.infer(policy.robot.fake_native())
    assert chunk.status is Status.OK
    assert chunk.actions.shape == (3, policy.robot.action_dim)

    for layout in ("released", "trained"):
        back = export_checkpoint(out, tmp_path / layout, layout=layout)
        assert (back / "assets" / config.asset_id / "norm_stats.json").is_file()
        assert layout_of(back) == layout
        assert_equal(
            {p.removeprefix("params/").removesuffix("/value"): v for p, v in upstream_restore(back / "params").items()},
            case.arrays,
        )


def test_a_run_is_found_by_its_latest_step(case: Case) -> None:
    if case.step.name.isdigit():
        assert find_step(case.step.parent).name == str(case.about["step"])
    require_fit(
        open_orbax(case.step / "params"), wanted_by(nnx.eval_shape(lambda: Pi0Fast(case.network(), rngs=nnx.Rngs(0))))
    )
    assert case.step.is_relative_to(ROOT)
