"""Paraphrased instructions: other verbs and sentences; the phrases that questions ask about stay the same."""

from __future__ import annotations

import re

import numpy as np

from inspire_fast.envs.libero.disturbances.base import Active, Scene

# Verb -> other verbs, from common to rare; severity is the number of them to choose from.
_VERBS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"pick up", ("grab", "take", "lift", "get hold of", "fetch")),
    (r"place it", ("put it", "set it", "lay it", "drop it", "deposit it")),
    (r"put", ("place", "set", "move", "bring", "transfer")),
    (r"open", ("pull open", "slide open", "draw open", "get open", "make open")),
    (r"close", ("shut", "slam", "seal", "fasten", "secure")),
    (r"turn on", ("switch on", "start", "light", "activate", "power on")),
    (r"turn off", ("switch off", "stop", "put out", "deactivate", "power off")),
    (r"push", ("slide", "shove", "move", "press", "nudge")),
    (r"stack", ("pile", "put", "place", "heap", "set")),
)
_FRAMES = (
    "{}",
    "please {}",
    "could you {}",
    "i would like you to {}",
    "robot, your task now is to {}",
    "when you are ready, and without hurry, {}",
)


def paraphrase(text: str, rng: np.random.Generator, severity: int) -> str:
    """The instruction with other verbs, and from severity 2 on with a sentence around it.

    paraphrase("pick up the soup and place it in the basket", ..., 3)
    "i would like you to lift the soup and set it in the basket"
    """
    # A replacement is written as one `<word>`, so that no later verb of the table matches inside it.
    for verb, others in _VERBS:
        word = others[int(rng.integers(min(severity, len(others))))]
        text = re.sub(rf"\b{verb}\b(?!_)", lambda _, word=word: f"<{word.replace(' ', '_')}>", text)
    text = re.sub(r"<([^>]*)>", lambda found: found.group(1).replace("_", " "), text)
    return _FRAMES[int(rng.integers(severity))].format(text) if severity > 1 else text


def paraphrases(scene: Scene) -> Active:
    """Draws one wording per episode."""
    seed = int(scene.rng.integers(2**32))
    return Active(prompt=lambda text: paraphrase(text, np.random.default_rng(seed), scene.severity))
