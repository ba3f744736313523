"""Every episode of an evaluation on its page: the video, and call by call what was asked, answered and true."""

from __future__ import annotations

from collections.abc import Sequence
import html
from pathlib import Path

from inspire_fast.evaluation.records.attention_files import AttentionPicture, read_pictures
from inspire_fast.evaluation.records.records import AnswerRecord, EpisodeRecord
from inspire_fast.evaluation.report.accuracy import judged
from inspire_fast.evaluation.report.rates import Markup, data_uri, table

# Videos are decoded only when their episode is opened: a page of hundreds must not decode hundreds.
SCRIPT = """
document.querySelectorAll('details.episode').forEach(d=>d.addEventListener('toggle',()=>{
const v=d.querySelector('video');if(v&&d.open&&!v.src)v.src=v.dataset.src;}));
const box=document.getElementById('maps');if(box)box.addEventListener('change',()=>
document.body.classList.toggle('maps-on',box.checked));
"""
_NOTE = (
    "Open one to see it: pictures as a person at the robot sees them; answers are green when they are the simulator's "
    "truth of that moment, red when not."
)
_MAPS = (
    "<p><label><input type=checkbox id=maps> attention of the answers over the picture</label> <span class=note>what "
    "the token before each answer looked at, mean over the heads of one layer, each picture scaled to its own maximum</span></p>"
)


def episodes(found: Sequence[EpisodeRecord], folder: Path, *, embed: bool) -> str:
    """All of them, folded."""
    maps = {record.key: read_pictures(folder, record.key) for record in found}
    switch = _MAPS if any(maps.values()) else ""
    place = "Videos are inside this page." if embed else "Videos lie beside this page: keep them together."
    return f"<p class=note>{_NOTE} {place}</p>{switch}" + "".join(
        _episode(r, folder, maps[r.key], embed=embed) for r in found
    )


def _episode(record: EpisodeRecord, folder: Path, maps: Sequence[AttentionPicture], *, embed: bool) -> str:
    given = [a for _, a in judged([record])]
    right = f", {sum(bool(a.right) for a in given)} of {len(given)} answers right" if given else ""
    tone, word = ("good", "solved") if record.success else ("bad", f"not solved ({record.stopped})")
    return (
        f"<details class=episode><summary>{record.suite}:{record.task} episode {record.episode} "
        f"<b class={tone}>{word}</b>, {record.steps} steps{right} – {html.escape(record.prompt)}</summary>"
        f"<p class=note>{html.escape(record.reason)}</p>{_video(record, folder, embed=embed)}"
        f"{''.join(_stack(m) for m in maps)}{_calls(record)}</details>"
    )


def _video(record: EpisodeRecord, folder: Path, *, embed: bool) -> str:
    path = None if record.video is None else folder / record.video
    if path is None or not path.exists():
        return "<p class=note>No video.</p>"
    source = data_uri(path.read_bytes(), "video/mp4") if embed else html.escape(str(record.video), quote=True)
    return f"<video controls muted loop data-src='{source}'></video>"


def _stack(picture: AttentionPicture) -> str:
    plain, heat = (data_uri(data, "image/png") for data in (picture.image, picture.heat))
    caption = html.escape(f"step {picture.step}: {picture.target} – {picture.answer}")
    return (
        f"<figure class=stack><img alt='' src='{plain}'><img class=map alt='' src='{heat}'>"
        f"<figcaption class=note>{caption}</figcaption></figure>"
    )


def _calls(record: EpisodeRecord) -> str:
    body = []
    for call in record.calls:
        said = Markup("<br>".join(_said(a) for a in call.answers))
        ms = call.timing_ms.get("round_trip_ms", call.timing_ms.get("infer_ms"))
        status = call.status if call.status == "ok" else f"{call.status}: {call.reason}"
        body.append([str(call.step), call.phase or "–", said, status, "–" if ms is None else f"{ms:.0f}"])
    return f"<div class=calls>{table(['step', 'phase', 'answers', 'status', 'ms'], body, numbers={0, 4})}</div>"


def _said(answer: AnswerRecord) -> str:
    tone = {True: "good", False: "bad", None: "note"}[answer.right]
    truth = "truth unknown" if answer.truth is None else f"true: {answer.truth}"
    far = "" if answer.distance_m is None else f", {answer.distance_m * 100:.0f} cm away"
    return (
        f"{html.escape(answer.target)}: <b class={tone}>{html.escape(answer.answer)}</b> "
        f"<span class=note>p {answer.probability:.2f}, {html.escape(truth)}{far}</span>"
    )
