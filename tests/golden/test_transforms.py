"""openpi's transforms: dictionaries, actions, normalisation, running statistics, images, tokenisation."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
import hashlib
import json
from pathlib import Path
import re

import jax
import numpy as np
import pytest

from inspire_fast.data.images import resize_with_pad
from inspire_fast.data.normalization.delta import absolute_actions, delta_actions
from inspire_fast.data.normalization.running import RunningStats
from inspire_fast.data.normalization.stats import (
    NormStats,
    load_norm_stats,
    normalize_quantile,
    normalize_zscore,
    save_norm_stats,
    unnormalize_quantile,
    unnormalize_zscore,
)
from inspire_fast.data.openpi import device_images
from inspire_fast.data.openpi.model import Inspire, InspireActions, MalformedActionsError
from inspire_fast.data.openpi.transforms import RepackTransform, make_bool_mask, pad_to_dim, transform_dict
from inspire_fast.dialogue.script import SCRIPTS, Context, Script
from inspire_fast.dialogue.testing import DIRECTION
from inspire_fast.models.layers import image_to_float
from inspire_fast.robots.images import convert_to_uint8
from tests.golden.cases import cases, recipe
from tests.golden.toy_codec import rows


def frozen(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays that no transform can change in place."""
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def load(path: Path) -> dict[str, np.ndarray]:
    return frozen(dict(np.load(path)))


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def equal(result: np.ndarray, wanted: np.ndarray, name: str) -> None:
    np.testing.assert_array_equal(result, wanted, err_msg=name, strict=True)


# actions.npz: state, actions; <mask>/{mask,delta,absolute}; pad<dim>_<what>[_axis<n>[_val<v>]]; padsa_*;
# subsample<stride>


@pytest.mark.parametrize("path", cases("c_transforms*/actions.npz", "{0.parent.name}"))
def test_actions(path: Path) -> None:
    vectors = load(path)
    state, actions = vectors["state"], vectors["actions"]
    checked = {"state", "actions"}
    for name in sorted({k.partition("/")[0] for k in vectors if k.endswith("/mask")}):
        mask = vectors[f"{name}/mask"].tolist()
        equal(delta_actions(actions, state, mask), vectors[f"{name}/delta"], name)
        equal(absolute_actions(actions, state, mask), vectors[f"{name}/absolute"], name)
        checked |= {f"{name}/{k}" for k in ("mask", "delta", "absolute")}
    for key, wanted in vectors.items():
        if stride := re.fullmatch(r"subsample(\d+)", key):
            equal(actions[:: int(stride[1])], wanted, key)  # upstream's subsampling is slicing
        elif what := re.fullmatch(r"padsa_(state|actions)", key):
            equal(pad_to_dim(vectors[what[1]], vectors["padsa_actions"].shape[-1]), wanted, key)
        elif pad := re.fullmatch(r"pad(\d+)_(state|actions|noop)(?:_axis(-?\d+))?(?:_val(\S+))?", key):
            alike = "state" if wanted.ndim == vectors["state"].ndim else "actions"
            x = vectors[alike if pad[2] == "noop" else pad[2]]
            equal(pad_to_dim(x, int(pad[1]), axis=int(pad[3] or -1), value=float(pad[4] or 0)), wanted, key)
        else:
            continue
        checked.add(key)
    assert checked == vectors.keys()


# dict_transforms.json


@pytest.mark.parametrize("path", cases("c_transforms*/dict_transforms.json", "{0.parent.name}"))
def test_dictionaries(path: Path) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    before = json.dumps(case["tree"])
    assert transform_dict(case["patterns"], case["tree"]) == case["transform_dict"]
    assert RepackTransform(case["repack_structure"])(case["tree"]) == case["repack"]
    for dims, mask in case["make_bool_mask"].items():
        value = ast.literal_eval(dims)
        assert list(make_bool_mask(*(value if isinstance(value, tuple) else (value,)))) == mask, dims
    assert json.dumps(case["tree"]) == before


FUNCTIONS = {
    ("normalize", "zscore"): normalize_zscore,
    ("normalize", "quantile"): normalize_quantile,
    ("unnormalize", "zscore"): unnormalize_zscore,
    ("unnormalize", "quantile"): unnormalize_quantile,
}


# normalize.npz: stats/<key>/<statistic>; in_<width>/<key>; <function>_<width>/<key>


@pytest.mark.parametrize("path", cases("c_transforms*/normalize.npz", "{0.parent.name}"))
def test_normalisation(path: Path) -> None:
    vectors = load(path)
    stats = stats_of(vectors)
    results = [re.fullmatch(r"((?:un)?normalize)_(zscore|quantile)_(\w+)/(.+)", key) for key in vectors]
    for found in filter(None, results):
        name, kind, width, key = found.groups()
        equal(FUNCTIONS[name, kind](vectors[f"in_{width}/{key}"], stats[key]), vectors[found.string], found.string)
    assert sum(r is not None for r in results) + sum(k.startswith(("stats/", "in_")) for k in vectors) == len(vectors)
    for width in {k.removeprefix("in_").partition("/")[0] for k in vectors if k.startswith("in_")}:
        for (name, kind), function in FUNCTIONS.items():
            if not any(k.startswith(f"{name}_{kind}_{width}/") for k in vectors):  # upstream cannot, and we say so
                with pytest.raises(ValueError, match=r"Cannot (un)?normalise"):
                    _ = [function(vectors[f"in_{width}/{key}"], stats[key]) for key in stats]


def stats_of(vectors: dict[str, np.ndarray]) -> dict[str, NormStats]:
    keys = {k.split("/")[1] for k in vectors if k.startswith("stats/")}
    names = ("mean", "std", "q01", "q99")
    return {key: NormStats(**{n: vectors[f"stats/{key}/{n}"] for n in names}) for key in sorted(keys)}


@pytest.mark.parametrize("path", cases("c_transforms*/norm_stats.json", "{0.parent.name}"))
def test_statistics_on_disk(path: Path, tmp_path: Path) -> None:
    stats = load_norm_stats(path)
    save_norm_stats(tmp_path / "norm_stats.json", stats)
    assert (tmp_path / "norm_stats.json").read_text(encoding="utf-8").rstrip("\n") == path.read_text(
        encoding="utf-8"
    ).rstrip("\n")
    if (beside := path.with_name("normalize.npz")).is_file():
        for key, wanted in stats_of(load(beside)).items():
            for name in ("mean", "std", "q01", "q99"):
                equal(getattr(stats[key], name), getattr(wanted, name), f"{key} {name}")


# running_stats.npz: batch_<i>, after_<i>/<statistic>


@pytest.mark.parametrize("path", cases("c_transforms*/running_stats.npz", "{0.parent.name}"))
def test_running_statistics(path: Path) -> None:
    vectors = load(path)
    running = RunningStats()
    steps = sorted(int(k.removeprefix("batch_")) for k in vectors if k.startswith("batch_"))
    for i in steps:
        running.update(vectors[f"batch_{i}"])
        for name in (k.partition("/")[2] for k in vectors if k.startswith(f"after_{i}/")):
            np.testing.assert_array_equal(
                getattr(running.stats(), name), vectors[f"after_{i}/{name}"], err_msg=f"{i} {name}"
            )
    assert steps


# resize.json, resize.npz: {pil,jaxu8,jaxf32}_<i>_{every<n>,rowmean}; batches; convert_*


@pytest.mark.parametrize("path", cases("c_transforms*/resize.json", "{0.parent.name}"))
def test_resize(path: Path, record_property: Callable[[str, object], None]) -> None:
    vectors, make = load(path.with_suffix(".npz")), recipe().resize_input
    for case in json.loads(path.read_text(encoding="utf-8")):
        image = make(case["h"], case["w"], case["seed"], case["i"])
        assert sha256(image) == case["input_sha256"]
        image.flags.writeable = False
        size = case["H"], case["W"]
        pil = resize_with_pad(image, *size)
        assert sha256(pil) == case["pil_sha256"], case
        given = jax.numpy.asarray(image)
        results = {
            "pil": pil,
            "jaxu8": np.asarray(device_images.resize_with_pad(given, *size)),
            "jaxf32": np.asarray(device_images.resize_with_pad(image_to_float(given), *size)),
        }
        for key in (k for k in vectors if re.fullmatch(rf"(pil|jaxu8|jaxf32)_{case['i']}_\w+", k)):
            kind, _, what = key.split("_")
            result = results[kind]
            if every := re.fullmatch(r"every(\d+)", what):
                result = result[:: int(every[1]), :: int(every[1])]
            else:
                assert what == "rowmean", key
                result = result.astype(np.float64).mean(axis=(1, 2))
            difference = np.abs(result.astype(np.float64) - vectors[key].astype(np.float64)).max()
            assert difference <= {"pil": 0, "jaxu8": 1, "jaxf32": 1e-5}[kind], (key, difference)
            record_property(kind, float(difference))


@pytest.mark.parametrize("path", cases("c_transforms*/resize.npz", "{0.parent.name}"))
def test_resize_of_batches_and_conversion(path: Path) -> None:
    vectors = load(path)
    if "batch_in" in vectors:
        wanted = vectors["pil_batch_out"]
        equal(resize_with_pad(vectors["batch_in"], *wanted.shape[-3:-1]), wanted, "pil_batch_out")
    if "convert_in" in vectors:
        equal(convert_to_uint8(vectors["convert_in"]), vectors["convert_to_uint8_out"], "convert_to_uint8_out")


# preprocess.json: the recipe of the pictures; preprocess_eval.npz: out/<camera>_every<n>, mask/<camera>


@pytest.mark.parametrize("path", cases("c_transforms*/preprocess_eval.npz", "{0.parent.name}"))
def test_preprocess(path: Path, record_property: Callable[[str, object], None]) -> None:
    vectors, about = load(path), json.loads(path.with_name("preprocess.json").read_text(encoding="utf-8"))
    random, images = np.random.RandomState(about["seed"]), {}
    for line in about["order"]:
        camera, kind, shape = re.fullmatch(
            r"(\w+) (uint8|float32)[^(]*?(?:uniform\(-1,1\) )?\(([\d,]+)\)", line
        ).groups()
        size = tuple(map(int, shape.split(",")))
        draw = random.randint(0, 256, size=size) if kind == "uint8" else random.uniform(-1, 1, size=size)
        images[camera] = draw.astype(kind)
    outputs = [k for k in vectors if k.startswith("out/")]
    for key in outputs:
        camera, _, every = key.removeprefix("out/").rpartition("_every")
        step = int(every)
        image = image_to_float(jax.numpy.asarray(images[camera]))
        result = np.asarray(device_images.resize_with_pad(image, 224, 224))[:, ::step, ::step]  # openpi's only size
        np.testing.assert_allclose(result, vectors[key], atol=1e-5, err_msg=key)
        record_property("largest difference", float(np.abs(result - vectors[key]).max()))
    assert len(outputs) == len(images)


# fast_tokenizer_toy.json, .npz: <row>/{state,actions,tokens,token_mask,ar_mask,loss_mask,postfix_tokens,extracted*}


TOKENIZER = cases("c_transforms*/fast_tokenizer_toy.json", "{0.parent.name}")


@pytest.mark.parametrize("path", TOKENIZER)
def test_tokenisation(path: Path) -> None:
    names = {
        "tokenized_prompt": "tokens",
        "tokenized_prompt_mask": "token_mask",
        "token_ar_mask": "ar_mask",
        "token_loss_mask": "loss_mask",
    }
    for row, arrays, vocabulary in rows(path):
        data = {k: arrays[k] for k in ("state", "actions") if k in arrays} | {"prompt": row["prompt"]}
        script = SCRIPTS["pi0_fast"](DIRECTION)
        if "actions" not in data:  # openpi's inference prompt ends before "Action: ", which its model then writes
            script = Script(name=script.name, segments=tuple(s for s in script.segments if isinstance(s, Context)))
        tokenize = Inspire(script=script, vocabulary=vocabulary, max_token_len=row["max_len"])
        if row.get("truncated"):  # refused, with the length that would fit
            with pytest.raises(ValueError, match=rf"has {row['full_len']} ids.*at least {row['full_len']}"):
                tokenize(data)
            tokenize = replace(tokenize, max_token_len=row["full_len"])
        result, length = tokenize(data), row["max_len"]
        for ours, theirs in names.items():
            equal(result[ours][:length], arrays[theirs], f"{row['prompt']} {theirs}")
        assert result.keys() == {*data.keys(), *names} - {"prompt"}


@pytest.mark.parametrize("path", TOKENIZER)
def test_extraction(path: Path) -> None:
    seen = 0
    for _, arrays, vocabulary in rows(path):
        if "actions" not in arrays:
            continue
        horizon, action_dim = arrays["actions"].shape
        script = SCRIPTS["pi0_fast"](DIRECTION)
        extract = InspireActions(script=script, vocabulary=vocabulary, action_horizon=horizon, action_dim=action_dim)
        lead = len(vocabulary.text.encode("Action: "))  # openpi's model writes it, ours is given it
        whole = arrays["postfix_tokens"]
        wanted = vocabulary.action.decode(vocabulary.action.encode(arrays["actions"]), horizon, action_dim)
        whole_text = {
            "extracted": whole,
            "extracted_zero_padded": np.pad(whole, (0, 9)).astype(np.float32),  # as openpi samples them
        }
        for name, tokens in whole_text.items():
            result = extract({"actions": tokens[lead:]})["actions"]
            np.testing.assert_array_equal(result, wanted)
            # openpi goes through text, and answers with zeros when the text does not come back as the same ids.
            if arrays[name].any():
                np.testing.assert_allclose(result, arrays[name], atol=1e-6)
        assert not arrays["extracted_truncated"].any()  # openpi answers with zeros, which are a motion; we refuse
        with pytest.raises(MalformedActionsError, match="do not end with"):
            extract({"actions": whole[lead : len(whole) // 2]})
        seen += 1
    assert seen
