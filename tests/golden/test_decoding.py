"""The end of openpi's decoding: all rows of a batch write the end token in the same step; zeros follow."""

from functools import lru_cache
import json
from pathlib import Path
import re

import jax
import numpy as np
import pytest

from inspire_fast.models.openpi.decode import PALIGEMMA_EOS, Prompt, sample
from tests.golden.network_cases import RECIPE, folders, images_of, model_config
from tests.models.params import network_of

Inputs = dict[str, np.ndarray]


class EndCase:
    """A network and groups of observations, each the rows of one batch; the group `many` is batches of one row."""

    def __init__(self, folder: Path) -> None:
        self.info = json.loads((folder / "info.json").read_text(encoding="utf-8"))
        self.z = np.load(folder / "vectors.npz")
        count, names = re.search(r"(\d+) cameras? ([\w, ]+?), prefix only", self.info["obs_recipe"]).groups()
        self.cameras = tuple(self.info.get("image_names") or re.findall(r"\w+", names)[: int(count)])
        self.config = model_config(self.info, self.cameras)
        params = RECIPE.load_params(json.loads((folder / "params_manifest.json").read_text(encoding="utf-8")))
        self.model = network_of(self.config, params)

    def seed(self, kind: str, index: int) -> int:
        """Of an observation's image or text, as `info.json` gives it."""
        rule = re.search(rf"{kind} seed=param_seed\*(\d+)\+sd\*(\d+)\+(\d+)", self.info["obs_recipe"]).groups()
        per_case, per_index, offset = map(int, rule)
        return self.info["param_seed"] * per_case + index * per_index + offset

    def observation(self, index: int, length: int) -> Inputs:
        """Images by camera, `ids` and `valid` of one row."""
        size, vocab = self.info["max_token_len"], self.info["gemma"]["vocab_size"]
        ids, valid, _, _ = RECIPE.make_text(self.seed("text", index), 1, size, vocab, [length], [length])
        images = images_of(self.seed("image", index), self.cameras, 1, self.config.image_hw)
        return {"ids": ids[0], "valid": valid[0], **{name: image[0] for name, image in images.items()}}

    def groups(self) -> dict[str, tuple[list[int], list[int]]]:
        """Array of samples -> indices and prompt lengths of its rows."""
        found = {}
        for name in self.z.files:
            if name.endswith("_sample"):
                stored = self.info[name.removesuffix("_sample").removeprefix("eos_")]
                found[name] = (stored["sd"], stored["plens"])
        if "many_samples" in self.z:
            indices = self.z["many_sd"].tolist()
            length = int(re.search(r"prefix length (\d+)", self.info["note"]).group(1))
            found["many_samples"] = (indices, [length] * len(indices))
        return found

    def batches(self, name: str) -> list[Inputs]:
        """The rows of a group, stacked as they were batched."""
        rows = [self.observation(index, length) for index, length in zip(*self.groups()[name], strict=True)]
        parts = [[row] for row in rows] if name == "many_samples" else [rows]
        return [{key: np.stack([row[key] for row in part]) for key in part[0]} for part in parts]

    @lru_cache  # noqa: B019  (a case lives as long as the module)
    def sampled(self, rows: int) -> dict[str, np.ndarray]:
        """What every group of batches of `rows` rows becomes: one program, run batch by batch."""
        batches = {name: found for name in self.groups() if len((found := self.batches(name))[0]["ids"]) == rows}
        every = [batch for found in batches.values() for batch in found]
        tokens = self.run({key: np.stack([batch[key] for batch in every]) for key in every[0]})
        ends = np.cumsum([len(found) for found in batches.values()])[:-1]
        return dict(zip(batches, np.split(tokens, ends), strict=True))

    def run(self, inputs: Inputs) -> np.ndarray:
        """Batches `[k, b, ...]` -> tokens `[k, b, n]`, each batch sampled alone."""
        steps = self.info["max_decoding_steps"]

        def one(batch: dict[str, jax.Array]) -> jax.Array:
            ids = batch["ids"]
            images = {name: batch[name] for name in self.cameras}
            shown = dict.fromkeys(self.cameras, ids[:, 0] == ids[:, 0])
            prompt = Prompt(images=images, image_mask=shown, ids=ids, valid=batch["valid"])
            return sample(self.model, prompt, max_decoding_steps=steps)

        return np.asarray(jax.jit(lambda inputs: jax.lax.map(one, inputs))(inputs))


@lru_cache(maxsize=1)
def end_case(folder: Path) -> EndCase:
    return EndCase(folder)


def groups() -> list:
    params = []
    for param in folders("end"):
        folder = param.values[0]
        if folder is None:
            return [pytest.param(None, "", id="none", marks=param.marks)]
        names = [
            name for name in np.load(folder / "vectors.npz").files if re.fullmatch(r"\w+_sample|many_samples", name)
        ]
        assert names, f"{folder} holds no samples"
        params += [pytest.param(folder, name, id=f"{folder.name}-{name}") for name in names]
    return params


@pytest.mark.parametrize(("folder", "name"), groups())
def test_tokens(folder: Path, name: str) -> None:
    case = end_case(folder)
    batches = case.batches(name)
    for what, key in (("tokens", "ids"), ("mask", "valid")):
        stored = f"{name.removesuffix('_sample')}_{what}"
        if stored in case.z:
            np.testing.assert_array_equal(batches[0][key], case.z[stored])
    ours = case.sampled(len(batches[0]["ids"]))[name]
    np.testing.assert_array_equal(ours.reshape(case.z[name].shape), case.z[name])
    # A batch of one ends with its end token; a row of more may continue after it.
    for batch in ours:
        ended = (batch == PALIGEMMA_EOS).all(axis=0)
        if ended.any():
            assert not batch[:, ended.argmax() + 1 :].any()
