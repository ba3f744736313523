"""Evaluations in real processes against a real server, with a fake simulator."""

from collections.abc import Iterator
from dataclasses import replace
import errno
import os
from pathlib import Path
import subprocess
import sys
import time

import av
import pytest

from inspire_fast.core.files import lock_folder
from inspire_fast.core.types import ActionChunk
from inspire_fast.envs.gl import RenderingUnavailableError
from inspire_fast.evaluation.records import records
from inspire_fast.evaluation.records.records import EpisodeRecord
from inspire_fast.evaluation.report.tables import results, text_table
from inspire_fast.evaluation.run import evaluate as evaluating
from inspire_fast.evaluation.run.evaluate import in_processes, in_this_process, run_missing_episodes
from inspire_fast.evaluation.run.failures import InfrastructureError, StoppedError, read_failures
from inspire_fast.evaluation.run.runner import Address, Job
from inspire_fast.serving.background import serve_in_background
from inspire_fast.serving.server import PolicyServer
from inspire_fast.serving.testing import PuppetPolicy
from tests.evaluation.faked import PROTOCOL, Faked

KEYS = [("libero_object", task, episode) for task in (0, 1) for episode in range(6)]


@pytest.fixture
def server() -> Iterator[PolicyServer]:
    with serve_in_background(PolicyServer(PuppetPolicy())) as running:
        yield running


@pytest.fixture
def job(tmp_path: Path) -> Job:
    policy = PuppetPolicy().metadata
    return Job(protocol=PROTOCOL, policy=dict(policy), name="puppet", videos="none", out=tmp_path / "run", make=Faked)


def table(found: list[EpisodeRecord]) -> str:
    return text_table(results(found))


def test_an_evaluation_in_rounds_ends_when_enough_is_known(job: Job) -> None:
    job, run = replace(job, in_rounds=True), in_this_process(PuppetPolicy())
    ended = run_missing_episodes(job, KEYS, run, enough=lambda found: len(found) >= 4)
    assert [r.key[1:] for r in ended] == [(0, 0), (0, 1), (1, 0), (1, 1)]  # two states of both tasks
    assert run_missing_episodes(job, KEYS, run, enough=lambda found: len(found) >= 4) == ended
    assert len(records.read(job.out)) == 4


def test_results_do_not_depend_on_the_number_of_workers(job: Job, server: PolicyServer, tmp_path: Path) -> None:
    address = Address(port=server.port)
    alone = run_missing_episodes(replace(job, out=tmp_path / "alone"), KEYS, in_this_process(PuppetPolicy()))
    three = run_missing_episodes(replace(job, out=tmp_path / "three"), KEYS, in_processes(address, 3))
    assert [r.key for r in alone] == [r.key for r in three] == KEYS
    assert table(alone) == table(three)
    assert 0 < sum(r.success for r in alone) < len(KEYS)
    assert [[c.step for c in r.calls] for r in alone] == [[c.step for c in r.calls] for r in three]
    assert {r.protocol for r in three} == {PROTOCOL.hash}
    # An episode has what it had, with the others before it or not.
    only = run_missing_episodes(replace(job, out=tmp_path / "only"), KEYS[7:8], in_this_process(PuppetPolicy()))
    assert (only[0].success, only[0].steps) == (alone[7].success, alone[7].steps)


SCRIPT = """
import sys
from pathlib import Path
from inspire_fast.client import PolicyClient
from inspire_fast.evaluation.run.evaluate import in_processes, run_missing_episodes
from inspire_fast.evaluation.run.runner import Address, Job
from inspire_fast.evaluation.report.tables import results, text_table
from tests.evaluation.faked import PROTOCOL, Faked

if __name__ == "__main__":
    address, out = Address(port=int(sys.argv[1])), Path(sys.argv[2])
    with address() as client:
        job = Job(protocol=PROTOCOL, policy=dict(client.metadata), name="puppet", videos="calls", out=out, make=Faked)
    keys = [("libero_object", task, episode) for task in (0, 1) for episode in range(6)]
    print(text_table(results(run_missing_episodes(job, keys, in_processes(address, 2)))))
"""


def test_killed_anywhere_and_run_again_the_table_is_the_same(
    job: Job, server: PolicyServer, tmp_path: Path, root: Path
) -> None:
    expected = table(run_missing_episodes(replace(job, out=tmp_path / "whole"), KEYS, in_this_process(PuppetPolicy())))
    script, out = tmp_path / "script.py", tmp_path / "killed"
    script.write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, str(script), str(server.port), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(root), "FAKED_STEP_S": "0.02"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    lines = out / records.FILE
    end = time.monotonic() + 120
    while not (lines.exists() and lines.read_bytes().count(b"\n") >= 3):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    process.kill()
    process.wait()
    with lines.open("ab") as file:
        file.write(b'{"suite": "libero_obj')  # killed within a line
    kept = records.read(out)
    assert 3 <= len(kept) < len(KEYS)
    finished = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=True, timeout=120)
    assert finished.stdout.strip() == expected.strip()
    assert len(lines.read_text(encoding="utf-8").splitlines()) == len(KEYS)  # nothing twice
    assert {r.key for r in kept} <= {r.key for r in records.read(out)}
    assert not list(out.glob(".*.partial"))
    assert len(list(out.glob("*.mp4"))) == len(KEYS)


def test_a_worker_that_is_killed_is_the_machines_failure(
    job: Job, server: PolicyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = tmp_path / "die"
    orders.write_text("4", encoding="utf-8")
    monkeypatch.setenv("FAKED_DIE", str(orders))
    address = Address(port=server.port)
    found = run_missing_episodes(job, KEYS, in_processes(address, 2))
    assert len(found) == len(KEYS) - 1
    (lost,) = read_failures(job.out)
    assert (lost.kind, lost.episode) == ("worker", 4)
    assert "SIGKILL" in lost.reason
    again = run_missing_episodes(job, KEYS, in_processes(address, 2))
    whole = run_missing_episodes(replace(job, out=tmp_path / "whole"), KEYS, in_this_process(PuppetPolicy()))
    assert table(again) == table(whole)


class Failing:
    """A policy whose machine fails at given calls."""

    def __init__(self, *errors: Exception | None) -> None:
        self._errors = list(errors)
        self._policy = PuppetPolicy()
        self.metadata = self._policy.metadata

    def infer(self, observation: object, options: object) -> ActionChunk:
        error = self._errors.pop(0) if self._errors else None
        if error is not None:
            raise error
        return self._policy.infer(observation, options)


def test_a_lost_server_costs_its_episode_only(job: Job) -> None:
    from inspire_fast.client import ConnectionLostError, RequestTimeoutError, ServerError

    errors = (
        ConnectionLostError("gone"),
        None,
        None,
        None,
        RequestTimeoutError("late"),
        ServerError("busy", code="overloaded"),
    )
    found = run_missing_episodes(job, KEYS, in_this_process(Failing(*errors)))
    assert [f.kind for f in read_failures(job.out)] == ["server", "late", "server"]
    assert len(found) == len(KEYS) - 3
    assert not {f.key for f in read_failures(job.out)} & {r.key for r in found}


def test_a_server_that_stays_away_stops_the_evaluation(job: Job) -> None:
    from inspire_fast.client import ConnectionLostError

    policy = Failing(*[ConnectionLostError("gone")] * 9)
    with pytest.raises(StoppedError, match=r"3 infrastructure failure\(s\) in a row.*repeat.*server: gone"):
        run_missing_episodes(job, KEYS, in_this_process(policy))
    assert records.read(job.out) == []


def test_a_policy_that_refuses_an_observation_has_failed_itself(job: Job) -> None:
    from inspire_fast.client import ServerError

    refused = ServerError("no such target", code="invalid_request")
    (record,) = run_missing_episodes(job, KEYS[:1], in_this_process(Failing(*[refused] * 9)))
    assert (record.success, record.stopped) == (False, "held")
    assert "no such target" in record.reason


def test_a_full_disk_stops_and_loses_nothing(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    run_missing_episodes(job, KEYS[:2], in_this_process(PuppetPolicy()))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(evaluating.records, "append", full)
        with pytest.raises(StoppedError, match=r"cannot be written.*No space left.*Make room"):
            run_missing_episodes(job, KEYS, in_this_process(PuppetPolicy()))
    assert [r.key for r in records.read(job.out)] == KEYS[:2]
    assert len(run_missing_episodes(job, KEYS, in_this_process(PuppetPolicy()))) == len(KEYS)


class Unrendered(Faked):
    def observe(self) -> dict:
        raise RenderingUnavailableError("MUJOCO_GL=disable switches rendering off")


class Crashing(Faked):
    def step(self, action: object) -> None:
        raise RuntimeError("mj_step diverged")


def test_no_rendering_is_said_once_and_a_crash_is_no_failed_episode(job: Job) -> None:
    with pytest.raises(StoppedError, match="switches rendering off"):
        run_missing_episodes(replace(job, make=Unrendered), KEYS, in_this_process(PuppetPolicy()))
    with pytest.raises(StoppedError, match=r"crash: RuntimeError at test_evaluate.py:\d+: mj_step diverged"):
        run_missing_episodes(replace(job, make=Crashing), KEYS, in_this_process(PuppetPolicy()))
    assert records.read(job.out) == []


def test_another_policy_behind_the_same_port_is_noticed(job: Job) -> None:
    policy = PuppetPolicy()
    swapped = Failing()
    swapped.metadata = {**policy.metadata, "checkpoint": "another"}
    with pytest.raises(StoppedError, match="the server now serves 'another'"):
        run_missing_episodes(job, KEYS, in_this_process(swapped))
    assert records.read(job.out) == []


class Restarting(Failing):
    """A client whose server comes back with another policy at the second call."""

    def infer(self, observation: object, options: object) -> ActionChunk:
        from inspire_fast.client import PolicyChangedError

        if hasattr(self, "asked"):
            raise PolicyChangedError("came back with another policy")
        self.asked = True
        return super().infer(observation, options)


def test_a_policy_that_is_exchanged_within_an_episode_stops_the_evaluation(job: Job) -> None:
    with pytest.raises(StoppedError, match="policy: came back with another policy"):
        run_missing_episodes(replace(job, make=Endless), KEYS, in_this_process(Restarting()))
    assert records.read(job.out) == []


def test_episodes_of_a_policy_without_a_name_are_not_continued(job: Job, caplog: pytest.LogCaptureFixture) -> None:
    nameless = replace(job, name="")
    run_missing_episodes(nameless, KEYS[:1], in_this_process(PuppetPolicy()))
    assert "Nothing names the policy" in caplog.text
    with pytest.raises(ValueError, match=r"nothing names.*--policy-name"):
        run_missing_episodes(nameless, KEYS, in_this_process(PuppetPolicy()))
    with pytest.raises(ValueError, match=r"policy\.name: None then, 'puppet' now"):
        run_missing_episodes(job, KEYS, in_this_process(PuppetPolicy()))


def test_one_evaluation_at_a_time_writes_into_a_folder(job: Job) -> None:
    with lock_folder(job.out, "evaluates into"), pytest.raises(FileExistsError, match="Another process evaluates into"):
        run_missing_episodes(job, KEYS[:1], in_this_process(PuppetPolicy()))
    assert len(run_missing_episodes(job, KEYS[:1], in_this_process(PuppetPolicy()))) == 1


def test_protocols_are_not_mixed_in_a_folder(job: Job) -> None:
    run_missing_episodes(job, KEYS[:1], in_this_process(PuppetPolicy()))
    other = replace(job, protocol=PROTOCOL.changed(execute=5))
    with pytest.raises(ValueError, match=r"settings\.protocol\.execute: 4 then, 5 now"):
        run_missing_episodes(other, KEYS[:1], in_this_process(PuppetPolicy()))


def test_machine_errors_travel_between_processes() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(InfrastructureError("late", "no answer")))
    assert (error.kind, error.reason, str(error)) == ("late", "no answer", "late: no answer")


class Endless(Faked):
    """Never solved: twelve steps in three calls of four actions."""

    @property
    def success(self) -> bool:
        return False


@pytest.mark.parametrize(("videos", "pictures"), [("calls", 3), ("steps", 12)])
def test_frames_between_calls_are_drawn_on_request_only(job: Job, videos: str, pictures: int) -> None:
    observations = 0

    class Counted(Endless):
        def observe(self) -> dict:
            nonlocal observations
            observations += 1
            return dict(super().observe())

    (record,) = run_missing_episodes(
        replace(job, make=Counted, videos=videos), KEYS[:1], in_this_process(PuppetPolicy())
    )
    assert (len(record.calls), record.steps, observations) == (3, 12, pictures)
    with av.open(str(job.out / str(record.video))) as film:
        assert sum(1 for _ in film.decode(video=0)) == 2 * pictures  # each stays half a second


def test_simulator_workers_never_load_jax(root: Path) -> None:
    """A worker imports the command's module, too: hundreds of megabytes and an accelerator for nothing."""
    code = (
        "import runpy, sys; import inspire_fast.evaluation.run.process_workers, inspire_fast.envs.libero.environment\n"
        "runpy.run_path('examples/libero/main.py', run_name='__mp_main__'); print('jax' in sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, encoding="utf-8", check=True, timeout=120
    )
    assert said.stdout.strip() == "False"
