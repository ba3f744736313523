"""Attention pictures of an evaluation on disk: written by `evaluation.records.attention`, shown on the page."""

from __future__ import annotations

from dataclasses import dataclass
import json
from pathlib import Path

from inspire_fast.core.files import write_bytes, write_json
from inspire_fast.evaluation.run.episodes import Key

FOLDER = "attention"


@dataclass(frozen=True, kw_only=True)
class AttentionPicture:
    """What one answer looked at.

    Attributes:
        step: control step of the call.
        target, answer: the phrase asked about, the word given.
        image: what the policy saw, upright, PNG.
        heat: the map, PNG with transparency, of the same size.
    """

    step: int
    target: str
    answer: str
    image: bytes
    heat: bytes


def stem(key: Key) -> str:
    """Begin of an episode's file names."""
    return f"{key[0]}_{key[1]}_{key[2]}"


def write_pictures(folder: Path, key: Key, pictures: list[AttentionPicture]) -> None:
    """Writes an episode's pictures; its list comes last, so that it appears whole or not at all."""
    target = folder / FOLDER
    rows = []
    for number, picture in enumerate(pictures):
        names = {kind: f"{stem(key)}_{number}_{kind}.png" for kind in ("image", "heat")}
        write_bytes(target / names["image"], picture.image)
        write_bytes(target / names["heat"], picture.heat)
        rows.append({"step": picture.step, "target": picture.target, "answer": picture.answer, **names})
    write_json(target / f"{stem(key)}.json", rows)


def read_pictures(folder: Path, key: Key) -> list[AttentionPicture]:
    """An episode's pictures; none where none were made."""
    listed = folder / FOLDER / f"{stem(key)}.json"
    if not listed.exists():
        return []
    return [
        AttentionPicture(
            step=row["step"],
            target=row["target"],
            answer=row["answer"],
            image=(listed.parent / row["image"]).read_bytes(),
            heat=(listed.parent / row["heat"]).read_bytes(),
        )
        for row in json.loads(listed.read_text())
    ]
