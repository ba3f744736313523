"""A small fault campaign; `benchmarks/server_faults.py` runs the large one."""

import pytest

from benchmarks.server_faults import KINDS, Args, run


# websockets 17 warns about the way in which openpi's client connects.
@pytest.mark.filterwarnings("ignore:connect\\(\\) must be used as a context manager:DeprecationWarning")
def test_no_fault_crashes_the_server_crosses_replies_or_goes_unreported(tmp_path):
    figures, campaign, victim = run(Args(clients=8, kills=1, patience_s=0), 400, tmp_path)
    assert figures["requests"] == 400
    assert figures["kills"] == 1
    assert figures["faults_injected"] > 150
    assert victim.crashes() == []
    assert campaign.ledger.crossed == []
    assert campaign.ledger.unreported == []
    assert campaign.ledger.unexpected == []
    assert figures["rss_growth_mb"] < 30
    descriptors, threads = figures["descriptors"], figures["threads"]
    assert descriptors[1] <= descriptors[0] + 2
    assert threads[1] <= threads[0] + 8  # pools fill up
    assert len({kind for kind, _ in campaign.ledger.outcomes}) > len({k for _, faults in KINDS for k in faults}) / 2
