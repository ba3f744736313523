"""HTML page of an inspection: images, dialogues coloured by segment, ids, and histograms of the answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from inspire_fast.core.files import write_text
from inspire_fast.core.html import Content, Markup, document, element, figure, fill, image, lines, note, png, table
from inspire_fast.core.types import SceneFacts
from inspire_fast.data.drawing import GRIPPER_COLOUR, draw_marks, marks_of, moved_mark, target_colour
from inspire_fast.data.picture_facts import padded
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.inspection.samples import Inspection, Shown, ShownPart

_STYLE = """
.bar{display:inline-block;height:.75rem;background:#5b8def;vertical-align:middle;margin-right:.4rem}
.sample{border:1px solid #ddd;border-radius:8px;padding:.8rem 1rem;margin:1rem 0;display:flex;gap:1rem;flex-wrap:wrap}
.sample img{width:11rem;image-rendering:pixelated;border-radius:4px} .talk{flex:1;min-width:24rem}
.talk p{white-space:pre-wrap;margin:.2rem 0} .ids{font:11px/1.5 ui-monospace,monospace;color:#555;word-break:break-word}
.context{background:#eceff3} .forced{background:#dbe8ff} .answer{background:#cdeccf} .action{background:#ffe4c4}
.loss{border-bottom:2px solid #c2410c} .key span{padding:.1rem .4rem;margin-right:.6rem}
"""
_KEY = Markup(
    "<p class=key><span class=context>context: seen as a whole</span><span class=forced>forced: given, causal</span>"
    "<span class=answer>answer</span><span class=action>action</span>"
    "<span class=loss>underlined: carries loss</span></p>"
)
_BAR_REM = 14
_MIRROR = (
    "This robot's images are rotated by 180 degrees (openpi's convention): their left side is the real scene's right "
    "side. Words and offsets are not rotated."
)
_FIRST_CAMERA = "base_0_rgb"  # of the labels that name none


def write_page(inspection: Inspection, path: Path) -> Path:
    """Writes one self-contained HTML file; returns its path."""
    config, several = inspection.config, len(inspection.parts) > 1
    names = ", ".join(part.name for part in inspection.parts)
    text = document(
        f"{config.name}: what it will be taught",
        note(f"{inspection.samples:,} training samples of {names}; ", _run(config), "."),
        _parts(inspection.parts),
        _lengths(inspection),
        element("h2", f"Answers, {'as training draws the samples' if several else 'all samples'}"),
        _histograms(inspection.answers_drawn() if several else inspection.answers),
        element("h2", "Answers by task"),
        _by_task(inspection.by_task),
        element("h2", "Samples as the network gets them"),
        _KEY,
        note(_MIRROR) if config.embodiment.image_orientation == "rotated_180" else None,
        *map(_sample, inspection.shown),
        style=_STYLE,
    )
    write_text(path, text)
    return path


def _run(config: TrainConfig) -> Markup:
    return fill(
        "script <b>{script}</b>, robot <b>{robot}</b>, chunks of {horizon} actions",
        script=config.dialogue.script,
        robot=config.robot,
        horizon=config.data.horizon,
    )


def _parts(parts: Sequence[ShownPart]) -> Markup | None:
    """Table of the datasets, if there are several or episodes are left out."""
    rows = [
        [
            part.name,
            f"{part.samples:,}",
            f"{part.share:.1%}",
            lines(f"episode {e}: {reason}" for e, reason in part.skipped.items()) or "none",
        ]
        for part in parts
        if len(parts) > 1 or part.skipped
    ]
    return table(["dataset", "samples", "share of the drawn samples", "episodes left out"], rows) if rows else None


def _lengths(inspection: Inspection) -> Markup:
    data = inspection.config.data
    rows = [
        ("ids per dialogue", inspection.lengths, f"max_token_len = {data.max_token_len}"),
        ("supervised ids", inspection.supervised, f"max_supervised = {data.max_supervised}"),
    ]
    body = [[name, f"{min(values)} to {max(values)}", limit] for name, values, limit in rows if values]
    return table(["", "shown samples", "limit in the config"], body)


def _histograms(answers: Mapping[tuple[str, str], float]) -> list[Markup]:
    if not answers:
        return [note("This script asks nothing.")]
    found: list[Markup] = []
    for question in dict.fromkeys(q for q, _ in answers):
        counts = {a: n for (q, a), n in answers.items() if q == question}
        found += [element("h3", question), _bars(counts)]
    return found


def _bars(counts: Mapping[str, float], most: int = 24) -> Markup:
    total, largest = sum(counts.values()), max(counts.values())
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    rows: list[list[Content]] = [
        [
            answer,
            [
                element("span", class_="bar", style=f"width:{_BAR_REM * n / largest:.2f}rem"),
                f"{round(n):,} ({n / total:.1%})",
            ],
        ]
        for answer, n in ordered[:most]
    ]
    if len(ordered) > most:
        rows.append([f"{len(ordered) - most} rarer answers", None])
    return table(["answer", "samples"], rows)


def _by_task(by_task: Mapping[str, Mapping[tuple[str, str, str], int]]) -> Markup:
    rows = []
    for task, counts in by_task.items():
        per_target: dict[tuple[str, str], Counter[str]] = {}
        for (target, question, answer), n in counts.items():
            per_target.setdefault((target, question), Counter())[answer] += n
        answers = [
            fill(
                "<b>{target}</b> ({question}): {shares}",
                target=target,
                question=question,
                shares=", ".join(f"{answer} {n / c.total():.0%}" for answer, n in c.most_common(7)),
            )
            for (target, question), c in per_target.items()
        ]
        rows.append([task, lines(answers) or "no questions"])
    return table(["instruction", "answers"], rows)


def _sample(shown: Shown) -> Markup:
    views = [
        figure(camera, image(png(draw_facts(pixels, shown.facts, camera, source_hw=shown.source_hw.get(camera)))))
        for camera, pixels in shown.images.items()
    ]
    tokens = shown.rendered.tokens
    spans, ids = [], []
    for index, (piece, text) in enumerate(zip(shown.rendered.pieces, shown.texts, strict=True)):
        inside = tokens.segment == index
        if not inside.any():
            continue
        loss = " loss" if tokens.supervised[inside].all() else ""
        spans.append(element("span", text, class_=piece.kind + loss))
        ids += [element("span", _ids(tokens.ids[inside], tokens.supervised[inside]), class_=piece.kind), " "]
    talk = [
        note(f"{shown.part}: episode {shown.episode}, frame {shown.frame}"),
        element("p", spans),
        element("p", ids, class_="ids"),
        note(_facts(shown.facts) if shown.facts else "no labels"),
    ]
    return element("div", element("div", views), element("div", talk, class_="talk"), class_="sample")


def _ids(ids: np.ndarray, supervised: np.ndarray) -> list[Content]:
    return [[element("span", i, class_="loss") if s else i, " "] for i, s in zip(ids, supervised, strict=True)]


def _facts(facts: SceneFacts) -> Markup:
    path = "no path" if facts.trace_px is None else f"path of {len(facts.trace_px)} points"
    gripper = fill("<span style='color:{colour}'>&#9679;</span> gripper: {path}", colour=GRIPPER_COLOUR, path=path)
    known = facts.gripper_px is not None or facts.trace_px is not None
    return lines([*_targets(facts), *([gripper] if known else [])])


def _targets(facts: SceneFacts) -> list[Markup]:
    return [
        fill(
            "<span style='color:{colour}'>&#9679;</span> {phrase}: {offset}{grasped}{places}",
            colour=target_colour(n),
            phrase=t.phrase,
            offset="no offset" if (o := t.offset_m) is None else f"({', '.join(f'{v:+.3f}' for v in o)}) m",
            grasped=", grasped" if t.grasped else "",
            places="".join(f", {n}" for n, at in (("point", t.point_px), ("box", t.box_px)) if at is not None),
        )
        for n, t in enumerate(facts.targets)
    ]


def draw_facts(
    image: np.ndarray,
    facts: SceneFacts | None,
    camera: str,
    *,
    source_hw: tuple[int, int] | None = None,
    scale: int = 3,
) -> np.ndarray:
    """The image, enlarged, with the labels of its camera: points and boxes of the targets, the gripper and its path.

    Labels are fractions of the original image, which has the size `source_hw` (None: that of `image`) and was padded to
    the size of `image`.
    """
    hw = image.shape[0], image.shape[1]
    known = facts is not None and camera == (facts.camera or _FIRST_CAMERA)
    move = padded(source_hw or hw, hw)
    return draw_marks(
        image, [moved_mark(mark, move) for mark in marks_of(facts)] if known and facts else (), scale=scale
    )
