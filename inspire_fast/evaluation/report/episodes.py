"""The section of episodes in an evaluation's report: the video, and questions, answers and truth per call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from inspire_fast.core.html import Markup, data_uri, element, figure, fill, image, lines, note, table
from inspire_fast.evaluation.records.attention_files import AttentionImage, read_attention_images
from inspire_fast.evaluation.records.records import AnswerRecord, EpisodeRecord
from inspire_fast.evaluation.report.accuracy import judged

EPISODES_STYLE = """
details{border:1px solid #ddd;border-radius:8px;padding:.4rem .9rem;margin:.5rem 0} summary{cursor:pointer}
.calls{font-size:.85rem} .stack{position:relative;display:inline-block;width:11rem;margin:.2rem}
.stack img{width:100%;display:block} .stack .map{position:absolute;left:0;top:0;opacity:0}
.maps-on .stack .map{opacity:.75}
"""
# A video loads when its episode is opened, so that a page of hundreds does not decode all of them.
EPISODES_SCRIPT = """
document.querySelectorAll('details.episode').forEach(d=>d.addEventListener('toggle',()=>{
const v=d.querySelector('video');if(v&&d.open&&!v.src)v.src=v.dataset.src;}));
const box=document.getElementById('maps');if(box)box.addEventListener('change',()=>
document.body.classList.toggle('maps-on',box.checked));
"""
_NOTE = (
    "Open an episode to see it, as a person next to the robot sees it. Answers are green if they agree with the "
    "simulator's truth at that moment, else red."
)
_MAPS = Markup(
    "<p><label><input type=checkbox id=maps> attention of the answers over the image</label> <span class=note>"
    "attention of the token before each answer, mean over the heads of one layer, each map scaled to its maximum"
    "</span></p>"
)


def episodes(found: Sequence[EpisodeRecord], folder: Path, *, embed: bool) -> list[Markup]:
    """One folded block per episode; videos are inside the page with `embed`, else linked.

    The page needs `EPISODES_STYLE` and `EPISODES_SCRIPT`.
    """
    maps = {record.key: read_attention_images(folder, record.key) for record in found}
    place = "Videos are inside this page." if embed else "Videos are files in this page's folder: keep them together."
    switch = [_MAPS] if any(maps.values()) else []
    return [note(_NOTE, " ", place), *switch, *(_episode(r, folder, maps[r.key], embed=embed) for r in found)]


def _episode(record: EpisodeRecord, folder: Path, maps: Sequence[AttentionImage], *, embed: bool) -> Markup:
    given = [a for _, a in judged([record])]
    right = f", {sum(bool(a.right) for a in given)} of {len(given)} answers right" if given else ""
    tone, word = ("good", "solved") if record.success else ("bad", f"not solved ({record.stopped})")
    summary = element(
        "summary",
        f"{record.suite}:{record.task} episode {record.episode} ",
        element("b", word, class_=tone),
        f", {record.steps} steps{right} – {record.prompt}",
    )
    heat = element("div", map(_attention, maps))
    content = note(record.reason), _video(record, folder, embed=embed), heat, _calls(record)
    return element("details", summary, content, class_="episode")


def _video(record: EpisodeRecord, folder: Path, *, embed: bool) -> Markup:
    path = None if record.video is None else folder / record.video
    if path is None or not path.exists():
        return note("No video.")
    source = data_uri(path.read_bytes(), "video/mp4") if embed else record.video
    return element("video", controls=True, muted=True, loop=True, data_src=source)


def _attention(item: AttentionImage) -> Markup:
    caption = f"step {item.step}: {item.target} – {item.answer}"
    return figure(caption, image(item.image), image(item.heat, class_="map"), class_="stack")


def _calls(record: EpisodeRecord) -> Markup:
    body = []
    for call in record.calls:
        ms = call.timing_ms.get("round_trip_ms", call.timing_ms.get("infer_ms"))
        status = call.status if call.status == "ok" else f"{call.status}: {call.reason}"
        answers = lines(map(_answer, call.answers))
        body.append([call.step, call.phase or "–", answers, status, "–" if ms is None else f"{ms:.0f}"])
    return element("div", table(["step", "phase", "answers", "status", "ms"], body, numbers={0, 4}), class_="calls")


def _answer(answer: AnswerRecord) -> Markup:
    tone = {True: "good", False: "bad", None: "note"}[answer.right]
    truth = "truth unknown" if answer.truth is None else f"true: {answer.truth}"
    far = "" if answer.distance_m is None else f", {answer.distance_m * 100:.0f} cm away"
    more = element("span", f"p {answer.probability:.2f}, {truth}{far}", class_="note")
    return fill(
        "{target}: {answer} {more}", target=answer.target, answer=element("b", answer.answer, class_=tone), more=more
    )
