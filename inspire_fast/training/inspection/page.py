"""An inspection as one HTML file: pictures, dialogues coloured by segment, ids, and histograms of the answers."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
import html
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from inspire_fast.core.files import write_text
from inspire_fast.core.types import SceneFacts
from inspire_fast.data.images import padded_point
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.inspection.samples import Inspection, Shown, ShownPart

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}
h2{margin-top:2.2rem} .note{color:#666} table{border-collapse:collapse;font-size:.9rem}
td,th{padding:.25rem .6rem;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}
.bar{display:inline-block;height:.75rem;background:#5b8def;vertical-align:middle;margin-right:.4rem}
.sample{border:1px solid #ddd;border-radius:8px;padding:.8rem 1rem;margin:1rem 0;display:flex;gap:1rem;flex-wrap:wrap}
.sample img{width:11rem;image-rendering:pixelated;border-radius:4px} .talk{flex:1;min-width:24rem}
.talk p{white-space:pre-wrap;margin:.2rem 0} .ids{font:11px/1.5 ui-monospace,monospace;color:#555;word-break:break-word}
.context{background:#eceff3} .forced{background:#dbe8ff} .answer{background:#cdeccf} .action{background:#ffe4c4}
.loss{border-bottom:2px solid #c2410c} .key span{padding:.1rem .4rem;margin-right:.6rem}
"""
KEY = (
    "<p class=key><span class=context>context: seen as a whole</span><span class=forced>forced: given, causal</span>"
    "<span class=answer>answer</span><span class=action>action</span><span class=loss>underlined: carries loss</span></p>"
)
_BAR_REM = 14
_MIRROR = (
    "This robot's pictures are rotated by 180 degrees (openpi's convention): what they show on the left is on the right of "
    "somebody who stands there. Words and offsets do not turn with the picture."
)
_TARGET_COLOURS = ("#ff2d55", "#ffd60a", "#30d158", "#0a84ff", "#bf5af2")


def write_page(inspection: Inspection, path: Path) -> Path:
    """Writes the page, everything inside; returns its path."""
    c, several = inspection.config, len(inspection.parts) > 1
    names = html.escape(", ".join(part.name for part in inspection.parts))
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{c.name}: what it will be taught</title>",
        f"<style>{STYLE}</style><h1>{html.escape(c.name)}: what it will be taught</h1>",
        f"<p class=note>{inspection.samples:,} training samples of {names}; {_run(c)}.</p>",
        _parts(inspection.parts),
        _lengths(inspection),
        "<h2>Answers, as training draws the samples</h2>" if several else "<h2>Answers, all samples</h2>",
        _histograms(inspection.answers_drawn() if several else inspection.answers),
        "<h2>Answers by task</h2>",
        _by_task(inspection.by_task),
        "<h2>Samples as the network gets them</h2>",
        KEY,
        f"<p class=note>{_MIRROR}</p>" if c.embodiment.image_orientation == "rotated_180" else "",
        *(_sample(shown) for shown in inspection.shown),
    ]
    write_text(path, "\n".join(parts))
    return path


def _run(config: TrainConfig) -> str:
    return (
        f"script <b>{config.dialogue.script}</b>, robot <b>{config.robot}</b>, chunks of {config.data.horizon} actions"
    )


def _parts(parts: Sequence[ShownPart]) -> str:
    """Several datasets, and what is left out of any."""
    rows = [
        f"<tr><td>{html.escape(part.name)}<td>{part.samples:,}<td>{part.share:.1%}"
        f"<td>{'<br>'.join(html.escape(f'episode {e}: {reason}') for e, reason in part.skipped.items()) or 'none'}"
        for part in parts
        if len(parts) > 1 or part.skipped
    ]
    head = "<tr><th>dataset<th>samples<th>share of those drawn<th>episodes left out"
    return f"<table>{head}{''.join(rows)}</table>" if rows else ""


def _lengths(inspection: Inspection) -> str:
    data = inspection.config.data
    rows = [
        ("ids per dialogue", inspection.lengths, "max_token_len", data.max_token_len),
        ("supervised ids", inspection.supervised, "max_supervised", data.max_supervised),
    ]
    cells = [
        f"<tr><td>{name}<td>{min(values)} to {max(values)}<td>{field} = {limit}"
        for name, values, field, limit in rows
        if values
    ]
    return f"<table><tr><th><th>of the samples shown<th>room in the config{''.join(cells)}</table>"


def _histograms(answers: Mapping[tuple[str, str], float]) -> str:
    if not answers:
        return "<p class=note>This script asks nothing.</p>"
    parts = []
    for question in dict.fromkeys(q for q, _ in answers):
        counts = {a: n for (q, a), n in answers.items() if q == question}
        parts.append(f"<h3>{html.escape(question)}</h3>{_bars(counts)}")
    return "".join(parts)


def _bars(counts: Mapping[str, float], most: int = 24) -> str:
    total, largest = sum(counts.values()), max(counts.values())
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    rows = [
        f"<tr><td>{html.escape(answer)}<td><span class=bar style='width:{_BAR_REM * n / largest:.2f}rem'></span>"
        f"{round(n):,} ({n / total:.1%})"
        for answer, n in ordered[:most]
    ]
    rest = f"<tr><td class=note>{len(ordered) - most} rarer answers<td>" if len(ordered) > most else ""
    return f"<table>{''.join(rows)}{rest}</table>"


def _by_task(by_task: Mapping[str, Mapping[tuple[str, str, str], int]]) -> str:
    rows = []
    for task, counts in by_task.items():
        per_target: dict[tuple[str, str], Counter[str]] = {}
        for (target, question, answer), n in counts.items():
            per_target.setdefault((target, question), Counter())[answer] += n
        lines = [
            f"<b>{html.escape(target)}</b> ({html.escape(question)}): "
            + ", ".join(f"{html.escape(a)} {n / c.total():.0%}" for a, n in c.most_common(7))
            for (target, question), c in per_target.items()
        ]
        rows.append(f"<tr><td>{html.escape(task)}<td>{'<br>'.join(lines) or 'no questions'}")
    return f"<table><tr><th>instruction<th>answers{''.join(rows)}</table>"


def _sample(shown: Shown) -> str:
    pictures = "".join(
        f"<figure style='margin:0'><img alt='' src='{_png(draw_facts(image, shown.facts, camera, source_hw=shown.source_hw.get(camera)))}'>"
        f"<figcaption class=note>{html.escape(camera)}</figcaption></figure>"
        for camera, image in shown.images.items()
    )
    tokens = shown.rendered.tokens
    spans, ids = [], []
    for index, (piece, text) in enumerate(zip(shown.rendered.pieces, shown.texts, strict=True)):
        inside = tokens.segment == index
        if not inside.any():
            continue
        loss = " loss" if tokens.supervised[inside].all() else ""
        spans.append(f"<span class='{piece.kind}{loss}'>{html.escape(text)}</span>")
        ids.append(f"<span class={piece.kind}>{_ids(tokens.ids[inside], tokens.supervised[inside])}</span>")
    facts = "<br>".join(_facts_line(shown.facts)) if shown.facts else "no labels"
    return (
        f"<div class=sample><div>{pictures}</div><div class=talk><p class=note>{html.escape(shown.part)}: episode "
        f"{shown.episode}, frame {shown.frame}</p><p>{''.join(spans)}</p><p class=ids>{' '.join(ids)}</p><p class=note>{facts}</p></div></div>"
    )


def _ids(ids: np.ndarray, supervised: np.ndarray) -> str:
    marked = (f"<span class=loss>{i}</span>" if s else str(i) for i, s in zip(ids, supervised, strict=True))
    return " ".join(marked)


def _facts_line(facts: SceneFacts) -> list[str]:
    return [
        f"<span style='color:{_colour(n)}'>&#9679;</span> {html.escape(t.phrase)}: "
        f"({', '.join(f'{v:+.3f}' for v in t.offset_m)}) m{', grasped' if t.grasped else ''}"
        for n, t in enumerate(facts.targets)
    ]


def _colour(number: int) -> str:
    return _TARGET_COLOURS[number % len(_TARGET_COLOURS)]


def draw_facts(
    image: np.ndarray,
    facts: SceneFacts | None,
    camera: str,
    *,
    source_hw: tuple[int, int] | None = None,
    scale: int = 3,
) -> np.ndarray:
    """The picture, enlarged, with each target's point marked where the labels know the camera (the base camera).

    From the gripper, where its point is known too, an arrow leads to the target. Points are fractions of the camera's own
    picture, which has the size `source_hw` (None: the picture given) and was padded to that of `image`.
    """
    hw = image.shape[0], image.shape[1]

    def pixel(point: tuple[float, float]) -> tuple[float, float]:
        y, x = padded_point(point, source_hw or hw, hw)
        return x * picture.width, y * picture.height

    picture = Image.fromarray(image).resize((image.shape[1] * scale, image.shape[0] * scale), Image.Resampling.NEAREST)
    if facts is None or camera != "base_0_rgb":
        return np.asarray(picture)
    draw = ImageDraw.Draw(picture)
    for number, target in enumerate(facts.targets):
        if target.point_px is None:
            continue
        x, y = pixel(target.point_px)
        r = max(picture.width // 24, 3)
        if facts.gripper_px is not None:
            draw.line([pixel(facts.gripper_px), (x, y)], fill=_colour(number), width=max(r // 3, 1))
        draw.ellipse([x - r, y - r, x + r, y + r], outline=_colour(number), width=max(r // 3, 1))
    return np.asarray(picture)


def _png(image: np.ndarray) -> str:
    target = io.BytesIO()
    Image.fromarray(image).save(target, format="png")
    return f"data:image/png;base64,{base64.b64encode(target.getvalue()).decode()}"
