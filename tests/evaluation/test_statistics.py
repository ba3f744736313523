import math

import numpy as np
import pytest
from scipy import stats

from inspire_fast.evaluation.report.statistics import Paired, compare, episodes_needed, mcnemar, wilson


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"), [(0, 10, 0.0, 0.278), (5, 10, 0.237, 0.763), (10, 10, 0.722, 1.0)]
)
def test_wilson_as_tabulated(successes: int, trials: int, low: float, high: float) -> None:
    rate = wilson(successes, trials)
    assert (rate.low, rate.high) == pytest.approx((low, high), abs=5e-4)


def test_wilson_agrees_with_scipy() -> None:
    for successes, trials in [(1, 3), (17, 20), (250, 500), (499, 500)]:
        theirs = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
        ours = wilson(successes, trials)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@pytest.mark.parametrize("p", [0.05, 0.5, 0.83, 0.95])
@pytest.mark.parametrize("trials", [10, 50, 500])
def test_intervals_hold_the_truth_as_often_as_they_say(p: float, trials: int) -> None:
    """Mean coverage over the rates near p (at one p it jumps with the integers), 20 000 simulated evaluations."""
    rng = np.random.default_rng(trials)
    true = np.clip(rng.normal(p, 0.02, 20_000), 0.005, 0.995)
    intervals = [wilson(k, trials) for k in range(trials + 1)]
    low, high = np.array([(r.low, r.high) for r in intervals]).T
    seen = rng.binomial(trials, true)
    covered = float(np.mean((low[seen] <= true) & (true <= high[seen])))
    assert 0.935 < covered < 0.975
    naive = 1.96 * np.sqrt(seen / trials * (1 - seen / trials) / trials)
    if trials == 10 and p in (0.05, 0.95):  # what the naive interval would do instead
        assert np.mean(np.abs(seen / trials - true) <= naive) < 0.6


def test_no_trials_say_nothing() -> None:
    rate = wilson(0, 0)
    assert (rate.low, rate.high, rate.share) == (0.0, 1.0, None)
    for successes, trials in ((11, 10), (-1, 10)):
        with pytest.raises(ValueError, match=f"got {successes} of {trials}"):
            wilson(successes, trials)
    for confidence in (0.0, 1.0, 1.5):
        with pytest.raises(ValueError, match="between 0 and 1"):
            wilson(1, 2, confidence=confidence)


def test_the_share_is_in_the_interval_whose_bounds_0_and_1_are_exact() -> None:
    assert [wilson(k, 4).share for k in (0, 1, 4)] == [0.0, 0.25, 1.0]
    assert wilson(0, 7).low == 0.0
    assert wilson(7, 7).high == 1.0
    assert 0 < wilson(0, 7).high < 1 > wilson(7, 7).low > 0


def test_mcnemar_is_the_binomial_test_on_discordant_pairs() -> None:
    assert mcnemar(1, 8) == 0.0390625
    assert mcnemar(0, 0) == mcnemar(4, 4) == 1.0
    for a, b in [(3, 9), (12, 2), (40, 61), (0, 7)]:
        assert mcnemar(a, b) == mcnemar(b, a) == pytest.approx(stats.binomtest(a, a + b, 0.5).pvalue)
    assert math.isfinite(mcnemar(2000, 2100))


def test_comparison_pairs_by_episode() -> None:
    first = {("s", 0, e): e < 6 for e in range(11)}
    second = {("s", 0, e): e in (0, 1, 2, 9) for e in range(1, 12)}
    paired = compare(first, second)
    assert (paired.both, paired.only_first, paired.only_second, paired.neither) == (2, 3, 1, 4)  # all unlike
    assert paired.difference == pytest.approx(-2 / 10)
    assert paired.episodes == 10
    assert paired.p_value == mcnemar(3, 1) == 0.625
    assert compare({}, second).difference is None


@pytest.mark.parametrize(
    ("counts", "low", "high"),  # Newcombe (1998), method 10; there first minus second
    [((36, 12, 2, 0), -0.3404, -0.0569), ((20, 12, 2, 16), -0.3292, -0.0562)],
)
def test_interval_of_a_paired_difference_as_published(counts: tuple[int, ...], low: float, high: float) -> None:
    both, only_first, only_second, neither = counts
    paired = Paired(both=both, only_first=only_first, only_second=only_second, neither=neither, p_value=1.0)
    assert paired.interval == pytest.approx((low, high), abs=1e-4)
    turned = Paired(both=both, only_first=only_second, only_second=only_first, neither=neither, p_value=1.0)
    assert turned.interval == pytest.approx((-high, -low), abs=1e-4)


def test_interval_of_a_paired_difference_holds_the_truth_as_often_as_it_says() -> None:
    rng, held = np.random.default_rng(0), 0
    for both, only_first, only_second, neither in rng.multinomial(40, (0.5, 0.15, 0.05, 0.3), 2000):
        paired = Paired(both=both, only_first=only_first, only_second=only_second, neither=neither, p_value=1.0)
        held += paired.interval[0] <= -0.1 <= paired.interval[1]
    assert 0.93 <= held / 2000 <= 0.98
    empty = Paired(both=0, only_first=0, only_second=0, neither=0, p_value=1.0)
    assert empty.interval == (-1, 1)


def test_equal_policies_are_rarely_called_different() -> None:
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(1000):
        a, b = rng.random((2, 100)) < 0.7
        found += mcnemar(int((a & ~b).sum()), int((~a & b).sum())) < 0.05
    assert found < 65  # the exact test keeps below its 5 %


def test_power_is_what_a_simulation_finds() -> None:
    assert episodes_needed(0.5, 0.1) == 388  # Fleiss, without continuity correction
    n = episodes_needed(0.6, 0.2, agreement=0.7)
    assert n < episodes_needed(0.6, 0.2)
    rng, found = np.random.default_rng(1), 0
    for _ in range(1000):
        only_second, only_first, _ = rng.multinomial(n, [0.25, 0.05, 0.7])
        found += mcnemar(int(only_first), int(only_second)) < 0.05
    assert 0.68 < found / 1000 < 0.88  # the exact test is a little below the formula's 0.8
    with pytest.raises(ValueError, match=r"at most 0\.800"):
        episodes_needed(0.6, 0.2, agreement=0.9)
    for baseline, difference in ((0.9, 0.2), (1.1, -0.2), (-0.1, 0.2), (0.1, -0.2), (0.5, 0.0)):
        with pytest.raises(ValueError, match="must lie in"):
            episodes_needed(baseline, difference)


def test_rates_and_agreement_may_reach_their_bounds() -> None:
    """By hand, with z = 1.959964 and 0.841621 (power 0.8)."""
    for baseline, difference in ((0.0, 0.5), (1.0, -0.5), (0.5, 0.5), (0.5, -0.5)):
        root = 1.959964 * math.sqrt(2 * 0.25 * 0.75) + 0.841621 * 0.5
        assert episodes_needed(baseline, difference) == math.ceil(root**2 / 0.25)
    most = 1.959964 * math.sqrt(0.2) + 0.841621 * math.sqrt(0.2 - 0.04)
    assert episodes_needed(0.6, 0.2, agreement=0.8) == math.ceil(most**2 / 0.04)
    least = 1.959964 + 0.841621 * math.sqrt(1 - 0.04)
    assert episodes_needed(0.6, 0.2, agreement=0.0) == math.ceil(least**2 / 0.04)
