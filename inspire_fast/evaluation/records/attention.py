"""Attention maps of answers over the front image, as in the InSpire paper's figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from PIL import Image

from inspire_fast.checkpoints.contract import Contract
from inspire_fast.checkpoints.reading import load_model
from inspire_fast.core.html import png
from inspire_fast.core.types import Answer
from inspire_fast.data.training_transform import ModelInput
from inspire_fast.dialogue.render import Kind, Rendered, render
from inspire_fast.evaluation.records.attention_files import FOLDER as IMAGES
from inspire_fast.evaluation.records.attention_files import AttentionImage, stem, write_attention_images
from inspire_fast.evaluation.records.frame import upright
from inspire_fast.evaluation.records.observations import load_observations, observations_file
from inspire_fast.evaluation.records.records import AnswerRecord, EpisodeRecord
from inspire_fast.models.inference.attention_maps import attention_maps
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.policy.load import open_checkpoint
from inspire_fast.robots import ROBOTS

_PAD = 64  # dialogues are padded to multiples of this, so that few programs are compiled
_SHOWN_PX = 224
CAMERA = "base_0_rgb"


class AttentionProbe:
    """Attention of one layer, at the tokens that predict the answers.

    Args:
        model, contract, vocabulary: of the checkpoint.
        layer: of the language model, from 0; None takes the layer at two thirds of the depth.
    """

    def __init__(self, model: Pi0Fast, contract: Contract, vocabulary: Any, *, layer: int | None = None) -> None:
        self._model, self._vocabulary = model, vocabulary
        self._robot, self._script = ROBOTS[contract.robot], contract.build_script()
        self._inputs = ModelInput(
            cameras=contract.model.cameras, image_hw=contract.model.image_hw, normalizer=contract.normalizer()
        )
        self.layer = 2 * model.config.language.depth // 3 if layer is None else layer
        self._maps = jax.jit(functools.partial(attention_maps, layers=(self.layer,)))

    @classmethod
    def load(cls, checkpoint: str | Path) -> AttentionProbe:
        """Loads what `load_policy` takes; this network is a second one in memory when the policy runs here, too."""
        with open_checkpoint(checkpoint) as step:
            contract = Contract.read(step / "assets")
            return cls(load_model(step, contract.model), contract, contract.load_vocabulary(step / "assets"))

    def maps(self, observation: Mapping[str, Any], answers: Sequence[Answer | AnswerRecord]) -> np.ndarray:
        """Attention of each answer over the front image, in the network's orientation.

        Args:
            observation: of the call.
            answers: of the call, in order, as the policy gave them or as they were recorded.

        Returns:
            float32 `[answers, rows, columns]` of the patch grid, mean over the heads. The rest up to a sum of 1 is
            attention to the other cameras and the text.
        """
        canonical = self._robot.canonical(observation)
        targets = dict.fromkeys(a.target for a in answers if a.target)
        fields = self._inputs.prompt_fields(canonical, tuple(targets))
        rendered = render(self._script, fields, self._vocabulary, answers=[a.answer for a in answers])
        tokens, config = rendered.tokens, self._model.config
        before = asking_positions(rendered)[: len(answers)]
        pad = -len(tokens) % _PAD
        images = {k: jnp.asarray(v)[None] for k, v in self._inputs.images(canonical).items()}
        found = self._maps(
            self._model,
            images,
            {k: jnp.ones(1, bool) for k in images},
            jnp.asarray(np.pad(tokens.ids, (0, pad)))[None],
            jnp.arange(len(tokens) + pad)[None] < len(tokens),
            jnp.asarray(np.pad(tokens.block, (0, pad), mode="edge"))[None],
            queries=jnp.asarray(before) + config.image_tokens,
        )
        first = sorted(images).index(CAMERA) * config.tokens_per_image
        mean = np.asarray(found[0, 0].mean(axis=0))[:, first : first + config.tokens_per_image]
        rows, columns = (side // config.vision.patch for side in config.image_hw)
        return mean.reshape(len(answers), rows, columns)

    def draw(self, observation: Mapping[str, Any], heat: np.ndarray) -> tuple[bytes, bytes]:
        """The front image upright, and a transparent image of the map: PNG files of the same size."""
        canonical, orientation = self._robot.canonical(observation), self._robot.image_orientation
        image = upright(self._inputs.images(canonical)[CAMERA], orientation)
        share = upright(heat, orientation) / max(float(heat.max()), 1e-12)
        colours = (255 * mpl.colormaps["inferno"](share)).astype(np.uint8)
        colours[..., 3] = (255 * np.sqrt(share)).astype(np.uint8)
        return _enlarged_png(image), _enlarged_png(colours)


def asking_positions(rendered: Rendered) -> list[int]:
    """Position that predicts each filled answer: the one before the answer's first token."""
    slots = [n for n, piece in enumerate(rendered.pieces) if piece.kind is Kind.ANSWER]
    places = [np.flatnonzero(rendered.tokens.segment == slot) for slot in slots]
    return [int(place[0]) - 1 for place in places if len(place)]


def draw_attention(probe: AttentionProbe, folder: Path, found: Sequence[EpisodeRecord], *, every: int) -> int:
    """Draws the missing maps of episodes with saved observations; returns the number of episodes drawn.

    Args:
        probe: of the evaluated policy.
        folder: of the evaluation.
        found: its records.
        every: draw every n-th call.
    """
    drawn = 0
    for record in found:
        source = observations_file(folder, record.key)
        if not source.exists() or (folder / IMAGES / f"{stem(record.key)}.json").exists():
            continue
        images = []
        for observation, call in list(zip(load_observations(source), record.calls, strict=True))[::every]:
            if not call.answers:
                continue
            for answer, heat in zip(call.answers, probe.maps(observation, call.answers), strict=True):
                image, over = probe.draw(observation, heat)
                images.append(
                    AttentionImage(step=call.step, target=answer.target, answer=answer.answer, image=image, heat=over)
                )
        write_attention_images(folder, record.key, images)
        drawn += 1
    return drawn


def _enlarged_png(pixels: np.ndarray) -> bytes:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return png(np.asarray(image.resize((_SHOWN_PX, _SHOWN_PX), Image.Resampling.BICUBIC)))
