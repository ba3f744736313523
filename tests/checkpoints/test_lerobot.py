"""LeRobot's `pi0_fast` parameters: its network's logits from its files, and its files from ours.

`data/lerobot_pi0_fast` is what LeRobot 0.6.1 with transformers 5.5.4 wrote and computed:
`tests/external/check_lerobot_network.py` made it.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from inspire_fast.checkpoints.params.lerobot import PREFIX, to_lerobot
from inspire_fast.checkpoints.params.lerobot_table import EMBEDDING, HEAD
from inspire_fast.checkpoints.params.safetensors import write_safetensors
from inspire_fast.checkpoints.reading import load_model, open_params
from inspire_fast.models.config import ModelConfig
from inspire_fast.policy.testing import random_params
from tests.checkpoints.lerobot_policies import REFERENCE, SMALL
from tests.checkpoints.written import LORA, TEST, assert_equal

THEIRS = load_file(REFERENCE / "model.safetensors")
Q_PROJ = f"{PREFIX}model.language_model.layers.1.self_attn.q_proj.weight"


def read(source: Path, model: ModelConfig = SMALL) -> dict[str, np.ndarray]:
    return dict(open_params(source, model=model).stream())


def written(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    folder.mkdir(exist_ok=True)
    save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, folder / "model.safetensors")
    return folder


def tight(prompt: np.ndarray, valid: np.ndarray, actions: np.ndarray, acted: np.ndarray) -> tuple[np.ndarray, ...]:
    """Rows without LeRobot's padding between prompt and actions, and the column of each row's first action."""
    length = prompt.shape[1] + actions.shape[1]
    ids, block = np.zeros((2, len(prompt), length), np.int32)
    for row in range(len(prompt)):
        parts = prompt[row][valid[row]], actions[row][acted[row]]
        line = np.concatenate(parts)
        ids[row, : len(line)] = line
        block[row] = np.maximum(np.arange(length) - len(parts[0]) + 1, 0)
    count = valid.sum(1, keepdims=True) + acted.sum(1, keepdims=True)
    return ids, np.arange(length) < count, block, valid.sum(1)


def test_logits_are_those_of_lerobots_network() -> None:
    expected = load_file(REFERENCE / "outputs.safetensors")
    acted, said = expected["actions_valid"], expected["prompt_valid"]
    ids, valid, block, start = tight(expected["prompt"], said, expected["actions"], acted)
    images = {name: expected[f"image/{name}"] for name in SMALL.cameras}
    shown = dict.fromkeys(images, jnp.ones(2, bool))
    model = load_model(REFERENCE, SMALL)

    @jax.jit
    def forward(images: dict) -> tuple[jax.Array, jax.Array]:
        x, *rest = model.sequence(images, shown, jnp.asarray(ids), jnp.asarray(valid), jnp.asarray(block))
        return x, model.logits(model.read(x, *rest))

    embedded, logits = map(np.asarray, forward(images))
    pictures = SMALL.image_tokens
    np.testing.assert_allclose(embedded[:, :pictures], expected["embedded"][:, :pictures], atol=1e-5)
    assert np.abs(expected["logits"]).max() > 5
    for row in range(2):
        text = expected["embedded"][row, pictures:][np.concatenate([said[row], acted[row]])]
        np.testing.assert_allclose(embedded[row, pictures : pictures + len(text)], text, atol=1e-6)
        mine = logits[row, start[row] :][: acted[row].sum()]
        np.testing.assert_allclose(mine, expected["logits"][row][acted[row]], atol=1e-5)


def test_its_file_is_written_as_it_was_read(tmp_path: Path) -> None:
    file = write_safetensors(tmp_path / "model.safetensors", to_lerobot(open_params(REFERENCE, model=SMALL)))
    assert_equal(load_file(file), THEIRS)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_a_file_of_ours_comes_back_and_each_array_is_read_once(tmp_path: Path, kv_heads: int) -> None:
    config = replace(TEST, language=replace(TEST.language, kv_heads=kv_heads))
    params = random_params(config)
    source = open_params(written_ours(tmp_path / "ours.safetensors", params))
    asked: list[str] = []
    counted = replace(source, read=lambda path, dtype: asked.append(path) or source.read(path, dtype))
    file = write_safetensors(tmp_path / "model.safetensors", to_lerobot(counted), dtype=jnp.dtype(jnp.bfloat16))
    assert sorted(asked) == sorted(params)
    assert_equal(read(file, config), {path: value.astype(jnp.bfloat16) for path, value in params.items()})


def written_ours(file: Path, params: dict[str, np.ndarray]) -> Path:
    save_file(params, file)
    return file


def test_low_rank_halves_have_no_place(tmp_path: Path) -> None:
    source = open_params(written_ours(tmp_path / "lora.safetensors", random_params(LORA)))
    with pytest.raises(ValueError, match=r"has no place for \(.*lora_.*--lora merge"):
        to_lerobot(source)


def before_0_4(name: str) -> str:
    """As LeRobot 0.3 with transformers 4.51."""
    name = name.removeprefix(f"{PREFIX}model.").removeprefix(PREFIX)
    name = name.replace("language_model.", "language_model.model.")
    return f"model.pi0_paligemma.{'language_model.' if name == HEAD else ''}{name}"


OTHERS: dict[str, Callable[[str], str]] = {
    "0.3": before_0_4,
    "no outer name": lambda name: name.removeprefix("model."),
    "no module between": lambda name: name.replace("vision_tower.vision_model.", "vision_tower."),
}


@pytest.mark.parametrize("version", list(OTHERS))
def test_names_of_other_versions(tmp_path: Path, version: str) -> None:
    kept = {name: value for name, value in THEIRS.items() if version != "0.3" or not name.endswith(EMBEDDING)}
    arrays = {OTHERS[version](name): value for name, value in kept.items()}
    if version == "0.3":  # which kept statistics in the same file
        arrays["normalize_inputs.buffer_observation_state.mean"] = np.zeros(8, np.float32)
    assert_equal(read(written(tmp_path, arrays)), read(REFERENCE))


def test_pieces_are_one_file(tmp_path: Path) -> None:
    names = sorted(THEIRS)
    for number, part in enumerate((names[::2], names[1::2]), 1):
        save_file({name: THEIRS[name] for name in part}, tmp_path / f"model-0000{number}-of-00002.safetensors")
    for source in (tmp_path, tmp_path / "model-00002-of-00002.safetensors"):
        assert_equal(read(source), read(REFERENCE))
    (tmp_path / "model-00001-of-00002.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks model-00001-of-00002.*one of 2 files that belong together"):
        read(tmp_path)


def test_arrays_of_two_dtypes_are_held_in_the_wider(tmp_path: Path) -> None:
    mixed = {name: v if "norm" in name else v.astype(jnp.bfloat16) for name, v in THEIRS.items()}
    mixed[Q_PROJ] = THEIRS[Q_PROJ]
    leaves = open_params(written(tmp_path, mixed), model=SMALL).leaves
    kept = {path: leaf.dtype.name for path, leaf in leaves.items()}
    assert kept["PaliGemma/llm/final_norm/scale"] == kept["PaliGemma/llm/layers/attn/q_einsum/w"] == "float32"
    assert kept["PaliGemma/llm/layers/attn/kv_einsum/w"] == kept["PaliGemma/img/head/kernel"] == "bfloat16"


@pytest.mark.parametrize(("row", "act"), [(0, open_params), (504, open_params), (3, read)])
def test_a_head_of_its_own_is_refused(tmp_path: Path, row: int, act: Callable[..., object]) -> None:
    """At once where one of a few rows tells, when the embedding is read where only the others do."""
    head = THEIRS[PREFIX + HEAD].copy()
    head[row, 2] += 0.5
    source = written(tmp_path, {**THEIRS, PREFIX + HEAD: head})
    with pytest.raises(ValueError, match=r"lm_head\.weight differs by up to 0\.5 from .*equal: one that openpi"):
        act(source, model=SMALL)


def test_what_is_no_whole_network_is_refused(tmp_path: Path) -> None:
    without = {name: value for name, value in THEIRS.items() if name != Q_PROJ}
    with pytest.raises(ValueError, match=r"1 differences:\n  missing: model\.language_model\.layers\.1.*q_proj"):
        read(written(tmp_path, without))
    with pytest.raises(ValueError, match=r"unknown: .*lora_A\.weight.*\n.*adapter \(PEFT\)"):
        read(written(tmp_path, {**THEIRS, f"{PREFIX}model.language_model.lora_A.weight": np.zeros(2, np.float32)}))
    with pytest.raises(ValueError, match=r"have the shapes \(24, 24\), \(32, 24\); expected one shape of 2 axes"):
        read(written(tmp_path, {**THEIRS, Q_PROJ: THEIRS[Q_PROJ][:24]}))
    with pytest.raises(ValueError, match=r"\(32, 24\): an axis of 32 is no multiple of 5 heads.*configured one"):
        read(REFERENCE, replace(SMALL, language=replace(SMALL.language, heads=5, kv_heads=1)))
    with pytest.raises(
        ValueError, match=r"does not fit the network[\s\S]*llm/layers/attn/q_einsum/w is \(2, 8, 24, 4\)"
    ):
        load_model(REFERENCE, replace(SMALL, language=replace(SMALL.language, heads=8)))
