"""Report of a real evaluation with a fake simulator."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from inspire_fast.client import ConnectionLostError
from inspire_fast.core.files import append_json_line
from inspire_fast.core.types import ActionChunk
from inspire_fast.dialogue.testing import DIRECTION
from inspire_fast.evaluation.records import records
from inspire_fast.evaluation.records.attention_files import AttentionImage, write_attention_images
from inspire_fast.evaluation.records.records import AnswerRecord, CallRecord, EpisodeRecord
from inspire_fast.evaluation.report.page import write_page
from inspire_fast.evaluation.run.evaluate import in_this_process, run_missing_episodes
from inspire_fast.evaluation.run.failures import FILE as FAILURES
from inspire_fast.evaluation.run.runner import Job
from inspire_fast.serving.testing import PuppetPolicy
from tests.core.hostile import HOSTILE, require_harmless
from tests.evaluation.faked import PROTOCOL, Faked

KEYS = [("libero_object", 0, episode) for episode in range(6)]
POLICY = {"robot": "libero", "checkpoint": "step <9>", "questions": {"direction": DIRECTION.parameters()}}


class Policy:
    """Gives back the answers that it is given, and loses its second connection."""

    metadata = POLICY

    def __init__(self) -> None:
        self._puppet, self._calls = PuppetPolicy(), 0

    def infer(self, observation: dict, options: object) -> ActionChunk:
        self._calls += 1
        if self._calls == 2:
            raise ConnectionLostError("the cable & the plug")
        return self._puppet.infer(observation, options)


class Slower(Faked):
    """Needs more steps than `Faked` for the same episodes."""

    def reset(self, episode: int) -> None:
        super().reset(episode)
        self._needed += 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pages") / "oracle"
    job = Job(protocol=PROTOCOL, policy=POLICY, answering="oracle", out=out, make=Faked, keep_observations=True)
    run_missing_episodes(job, KEYS, in_this_process(Policy()))
    return out


def test_the_page_shows_what_was_measured(folder: Path) -> None:
    page = write_page(folder).read_text(encoding="utf-8")
    for text in (
        f"<code>{PROTOCOL.hash}</code>",
        "5 episodes of 1 tasks, 1 of them with fewer than the protocol&#x27;s 6 trials",
        "truth is forced as every answer (oracle)",
        "step &lt;9&gt;",
        "100.0%",  # of the oracle's answers
        "the cable &amp; the plug",
        "missing",
        'the bowl: <b class="good">',
    ):
        assert text in page
    assert page.count("data:video/mp4;base64,") == 5
    assert "http" not in page.replace("http://www.w3.org", "")


def test_videos_may_lie_beside_the_page(folder: Path) -> None:
    page = write_page(folder, embed=False).read_text(encoding="utf-8")
    assert "data:video" not in page
    names = [name for name in page.split('"') if name.endswith(".mp4")]
    assert len(names) == 5
    assert all((folder / name).exists() for name in names)
    assert "keep them together" in page


def test_attention_can_be_switched_on_where_there_is_some(folder: Path) -> None:
    assert "id=maps" not in write_page(folder).read_text(encoding="utf-8")
    picture = AttentionImage(step=4, target="the bowl", answer="left", image=b"png", heat=b"heat")
    write_attention_images(folder, KEYS[5], [picture])
    page = write_page(folder).read_text(encoding="utf-8")
    assert "<input type=checkbox id=maps>" in page
    assert page.count('<figure class="stack">') == 1
    assert "step 4: the bowl – left" in page


def test_two_evaluations_are_paired_by_episode(folder: Path, tmp_path: Path) -> None:
    job = Job(protocol=PROTOCOL, policy=POLICY, answering="oracle", videos="none", out=tmp_path / "other", make=Slower)
    run_missing_episodes(job, KEYS, in_this_process(Policy()))
    page = write_page(folder, compare=tmp_path / "other").read_text(encoding="utf-8")
    assert "Compared with other" in page
    assert "common episodes the other solves" in page
    assert "fewer; they agree on" in page
    assert "The same policy, asked in the same way." in page
    liar = replace(job, answering="adversarial", out=tmp_path / "liar")
    run_missing_episodes(liar, KEYS, in_this_process(Policy()))
    assert "<li>answers: &#x27;oracle&#x27; here, &#x27;adversarial&#x27; there</li>" in write_page(
        folder, compare=tmp_path / "liar"
    ).read_text(encoding="utf-8")
    changed = replace(job, protocol=PROTOCOL.changed(execute=3), out=tmp_path / "changed")
    run_missing_episodes(changed, KEYS[:2], in_this_process(Policy()))
    with pytest.raises(ValueError, match="different protocols cannot be paired"):
        write_page(folder, compare=tmp_path / "changed")


def test_text_of_others_cannot_break_the_page(tmp_path: Path) -> None:
    """Prompts, answers and reasons come from datasets, models and servers."""
    settings = {"protocol": asdict(PROTOCOL), "protocol_hash": HOSTILE, "answers": "own", "disturbances": {HOSTILE: 1}}
    answer = AnswerRecord(question=HOSTILE, asked=HOSTILE, target=HOSTILE, answer=HOSTILE, probability=1, truth=HOSTILE)
    call = CallRecord(step=0, answers=(answer,), status=HOSTILE, reason=HOSTILE, timing_ms={HOSTILE: 1.0})
    texts = dict.fromkeys(("suite", "prompt", "stopped", "reason"), HOSTILE)
    counts = {"task": 0, "episode": 0, "steps": 1, "holds": 0, "seconds": 1.0}
    record = EpisodeRecord(**texts, **counts, success=False, video="'a\".mp4", calls=(call,))  # type: ignore[arg-type]
    (tmp_path / "'a\".mp4").touch()
    records.claim(tmp_path, settings, {"checkpoint": HOSTILE})
    records.append(tmp_path, record)
    failure = {"suite": HOSTILE, "task": 0, "episode": 1, "kind": HOSTILE, "reason": HOSTILE}
    append_json_line(tmp_path / FAILURES, failure)
    require_harmless(
        write_page(tmp_path, compare=tmp_path, embed=False).read_text(encoding="utf-8"), shown=20, scripts=1
    )


def test_a_folder_without_an_evaluation_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no evaluation of this version \(evaluation\.json\)"):
        write_page(tmp_path)
