"""Files of an evaluation's attention maps; read by its report without loading a network."""

from __future__ import annotations

from dataclasses import dataclass
import json
from pathlib import Path

from inspire_fast.core.files import write_bytes, write_json
from inspire_fast.evaluation.records.records import Key

FOLDER = "attention"


@dataclass(frozen=True, kw_only=True)
class AttentionImage:
    """Attention map of one answer.

    Attributes:
        step: control step of the call.
        target, answer: the phrase asked about, the word given.
        image: the policy's image, upright, PNG.
        heat: the map, PNG with transparency, of the same size.
    """

    step: int
    target: str
    answer: str
    image: bytes
    heat: bytes


def stem(key: Key) -> str:
    """Start of an episode's file names."""
    return f"{key[0]}_{key[1]}_{key[2]}"


def write_attention_images(folder: Path, key: Key, images: list[AttentionImage]) -> None:
    """Writes an episode's maps; their list comes last, so that it never names missing files."""
    target = folder / FOLDER
    rows = []
    for number, item in enumerate(images):
        names = {kind: f"{stem(key)}_{number}_{kind}.png" for kind in ("image", "heat")}
        write_bytes(target / names["image"], item.image)
        write_bytes(target / names["heat"], item.heat)
        rows.append({"step": item.step, "target": item.target, "answer": item.answer, **names})
    write_json(target / f"{stem(key)}.json", rows)


def read_attention_images(folder: Path, key: Key) -> list[AttentionImage]:
    """Reads an episode's maps; empty if none were drawn."""
    listed = folder / FOLDER / f"{stem(key)}.json"
    if not listed.exists():
        return []
    return [
        AttentionImage(
            step=row["step"],
            target=row["target"],
            answer=row["answer"],
            image=(listed.parent / row["image"]).read_bytes(),
            heat=(listed.parent / row["heat"]).read_bytes(),
        )
        for row in json.loads(listed.read_text(encoding="utf-8"))
    ]
