"""What the name of a training figure says: the group that it is drawn in, its unit, and which way is better.

Names are read word by word, so that a figure that is logged tomorrow finds its place without a line here:

    answer_loss                  -> losses, lower is better
    held_out_action_loss         -> held out, lower
    decoded_action_error         -> decoded, lower
    decoded_answer_accuracy      -> decoded, higher
    action_token_accuracy        -> accuracy, higher
    samples_per_s, mfu           -> speed, higher
    data_wait_fraction           -> speed, lower
    grad_norm, learning_rate     -> optimiser, neither
"""

from __future__ import annotations

from collections.abc import Mapping
import re
from typing import Literal

Group = Literal["losses", "held_out", "decoded", "accuracy", "speed", "optimiser", "other"]
Better = Literal["lower", "higher"]

TITLES: Mapping[Group, str] = {
    "losses": "Losses on training batches",
    "held_out": "Held-out samples, teacher-forced",
    "decoded": "Held-out samples, decoded",
    "accuracy": "Accuracy on training batches",
    "speed": "Throughput, waiting and memory",
    "optimiser": "Optimiser",
    "other": "Other figures",
}
_WORDS: Mapping[Group, frozenset[str]] = {  # the first group that knows a word of the name
    "speed": frozenset({"mfu", "wait", "seconds", "memory", "bytes", "gib", "tflops", "ms"}),
    "optimiser": frozenset({"norm", "rate", "lr", "clipped"}),
    "accuracy": frozenset({"accuracy", "formed", "majority", "baseline"}),
    "losses": frozenset({"loss", "perplexity", "error"}),
}
_LOWER = frozenset({"loss", "perplexity", "error", "wait", "seconds", "memory", "bytes", "gib", "ms"})
_HIGHER = frozenset({"accuracy", "formed", "mfu", "tflops", "success"})


def _words(name: str) -> list[str]:
    return re.split(r"[^a-z0-9]+", name.lower())


def group_of(name: str) -> Group:
    """The group that a figure is drawn in; `other` for a name that says nothing."""
    words = _words(name)
    if "decoded" in words:
        return "decoded"
    if name.startswith("held_out"):
        return "held_out"
    if _is_rate(words) or words[-1] == "s":
        return "speed"
    for group, known in _WORDS.items():
        if known & {*words}:
            return group
    return "other"


def better(name: str) -> Better | None:
    """Which way is better; None where neither is, as with a gradient's norm or a baseline."""
    words = {*_words(name)}
    if words & {"baseline", "majority", "norm"}:
        return None
    if _is_rate(_words(name)) or words & _HIGHER:
        return "higher"
    return "lower" if words & _LOWER or _words(name)[-1] == "s" else None


def unit(name: str) -> str:
    """What the axis of a figure says; empty where its name says it all."""
    words = _words(name)
    if "loss" in words:
        return "nats per token"
    if "error" in words:
        return "native units"
    if _is_rate(words):
        return "1/s"
    if words[-1] == "s" or "seconds" in words:
        return "s"
    return "share" if {*words} & {"accuracy", "formed", "fraction", "mfu", "baseline", "majority"} else ""


def is_noisy(name: str) -> bool:
    """Whether a figure is of single training batches, so that a mean over steps says more than the value."""
    return group_of(name) not in ("held_out", "decoded") and "rate" not in _words(name)


def tag(name: str) -> str:
    """The name that a tracker shows: with its group before it, unless the name brings a folder of its own."""
    return name if "/" in name else f"{group_of(name)}/{name}"


def _is_rate(words: list[str]) -> bool:
    return words[-2:] in (["per", "s"], ["per", "second"])
