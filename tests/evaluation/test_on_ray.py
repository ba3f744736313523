"""The same episodes on a local Ray cluster of two nodes, each a set of processes."""

from dataclasses import replace
import importlib
from pathlib import Path
import sys
import warnings

import pytest

from inspire_fast.evaluation.report.tables import results, text_table
from inspire_fast.evaluation.run.evaluate import in_this_process, run_missing_episodes
from inspire_fast.evaluation.run.failures import StoppedError, read_failures
from inspire_fast.evaluation.run.ray_workers import on_ray
from inspire_fast.evaluation.run.runner import Address, Job
from inspire_fast.serving.background import serve_in_background
from inspire_fast.serving.server import PolicyServer
from inspire_fast.serving.testing import PuppetPolicy
from tests.evaluation.faked import PROTOCOL, Faked

KEYS = [("libero_object", task, episode) for task in (0, 1) for episode in range(4)]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Ray's own
def test_a_cluster_of_two_nodes_gives_the_same_table(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
        Cluster = importlib.import_module("ray.cluster_utils").Cluster  # noqa: N806
    orders = tmp_path / "die"
    orders.write_text("3", encoding="utf-8")
    monkeypatch.setenv("FAKED_DIE", str(orders))
    monkeypatch.setenv("PYTHONPATH", str(root))  # of the nodes' processes
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        policy = PuppetPolicy()
        job = Job(protocol=PROTOCOL, policy=dict(policy.metadata), name="puppet", out=tmp_path / "ray", make=Faked)
        with serve_in_background(PolicyServer(policy)) as server:
            address = Address(port=server.port)
            first = run_missing_episodes(job, KEYS, on_ray(address, cluster.address, 2))
            assert len(ray.nodes()) == 2
            assert [f.kind for f in read_failures(job.out)] == ["worker"]  # one was killed at its episode
            assert len(first) == len(KEYS) - 1
            found = run_missing_episodes(job, KEYS, on_ray(address, cluster.address, 2))
    finally:
        ray.shutdown()
        cluster.shutdown()
    here = run_missing_episodes(replace(job, out=tmp_path / "here"), KEYS, in_this_process(PuppetPolicy()))
    assert text_table(results(found)) == text_table(results(here))
    assert sorted(p.name for p in job.out.glob("*.mp4")) == sorted(f"{s}_{t}_{e}.mp4" for s, t, e in KEYS)


def test_without_ray_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    job = Job(protocol=PROTOCOL, policy={}, out=tmp_path, make=Faked)
    with pytest.raises(StoppedError, match=r"Ray is not installed.*--extra ray"):
        run_missing_episodes(job, KEYS, on_ray(Address(), "auto", 2))
