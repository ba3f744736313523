"""Statistics of success counts: Wilson intervals, exact McNemar test, and required numbers of episodes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
import math
from statistics import NormalDist
from typing import TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A share of successes with its Wilson interval.

    Attributes:
        successes, trials: the count.
        low, high: the interval, 0..1; 0 and 1 without trials.
    """

    successes: int
    trials: int
    low: float
    high: float

    @property
    def share(self) -> float | None:
        """Successes per trial; None without trials."""
        return self.successes / self.trials if self.trials else None


def wilson(successes: int, trials: int, *, confidence: float = 0.95) -> Rate:
    """Wilson's score interval (1927), which is valid for few trials and near 0 and 1, unlike `p +- 1.96 s`.

        wilson(0, 10)   0.000 .. 0.278
        wilson(5, 10)   0.237 .. 0.763
        wilson(10, 10)  0.722 .. 1.000

    Raises:
        ValueError: more successes than trials, a negative count, or a confidence outside (0, 1).
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"successes must be in 0..trials; got {successes} of {trials}.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1; got {confidence}.")
    if not trials:
        return Rate(successes=0, trials=0, low=0.0, high=1.0)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p, scale = successes / trials, 1 + z * z / trials
    middle = (p + z * z / (2 * trials)) / scale
    half = z / scale * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    # The bounds 0 and 1 are exact; rounding would leave them slightly inside.
    low = 0.0 if successes == 0 else middle - half
    return Rate(successes=successes, trials=trials, low=low, high=1.0 if successes == trials else middle + half)


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Two policies on the same episodes.

    Attributes:
        both, only_first, only_second, neither: numbers of episodes solved by these policies.
        p_value: of the exact McNemar test, two-sided: the probability of a split of the episodes that only one policy
            solved that is at least as uneven, if both are equally good.
    """

    both: int
    only_first: int
    only_second: int
    neither: int
    p_value: float

    @property
    def episodes(self) -> int:
        """Number of common episodes."""
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def difference(self) -> float | None:
        """Second minus first success rate; None without a common episode."""
        return (self.only_second - self.only_first) / self.episodes if self.episodes else None

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of `difference`: Newcombe's for paired shares (1998, method 10), of Wilson's for each.

            both 36, only the first 12, only the second 2, neither 0    -0.340 .. -0.057

        -1 and 1 without a common episode.
        """
        n = self.episodes
        if not n:
            return -1.0, 1.0
        first, second = wilson(self.both + self.only_first, n), wilson(self.both + self.only_second, n)
        p, q = first.successes / n, second.successes / n
        spread = first.successes * second.successes * (n - first.successes) * (n - second.successes)
        together = self.both * self.neither - self.only_first * self.only_second
        together = max(0.0, together - n / 2) if together > 0 else float(together)  # his correction for continuity
        phi = together / math.sqrt(spread) if spread else 0.0

        def reach(below: float, above: float) -> float:
            return math.sqrt(max(0.0, below**2 - 2 * phi * below * above + above**2))

        difference = q - p
        return difference - reach(q - second.low, first.high - p), difference + reach(second.high - q, p - first.low)


def difference_text(paired: Paired | None) -> str:
    """Difference and interval in points, e.g. `+5.0 (-3.1 to +13.0)`; a dash without a common episode."""
    if paired is None or paired.difference is None:
        return "–"
    low, high = paired.interval
    return f"{100 * paired.difference:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def compare(first: Mapping[K, bool], second: Mapping[K, bool]) -> Paired:
    """Pairs two evaluations by episode; episodes of one evaluation alone are left out."""
    counts = {(a, b): 0 for a in (True, False) for b in (True, False)}
    for key in first.keys() & second.keys():
        counts[first[key], second[key]] += 1
    return Paired(
        both=counts[True, True],
        only_first=counts[True, False],
        only_second=counts[False, True],
        neither=counts[False, False],
        p_value=mcnemar(counts[True, False], counts[False, True]),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value: both tails of Binomial(n, 1/2) at least as uneven; 1 without discordant pairs.

    mcnemar(1, 8)   0.0390625      = 2 * (1 + 9) / 2**9

    Raises:
        ValueError: a negative count.
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f"Counts must not be negative; got {only_first} and {only_second}.")
    n = only_first + only_second
    tail = sum(math.comb(n, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, float(2 * tail / 2**n))


def episodes_needed(
    baseline: float, difference: float, *, power: float = 0.8, confidence: float = 0.95, agreement: float | None = None
) -> int:
    """Number of episodes per policy to find a true difference with probability `power`.

    Without `agreement`: independent episodes, the two-proportion formula with unpooled variance under the alternative
    (Fleiss 1981). With it: both policies on the *same* episodes, tested by McNemar (Connor 1987), which needs fewer
    episodes the more they agree.

    Args:
        baseline: success rate of the first policy, 0..1.
        difference: second minus first, not 0; `baseline + difference` lies in 0..1.
        power: probability of finding it.
        confidence: 1 - the probability of finding a difference that does not exist.
        agreement: share of episodes that both solve or both fail.

    Raises:
        ValueError: impossible rates, or more agreement than the difference allows.
    """
    p, q = baseline, baseline + difference
    if not (0 <= p <= 1 and 0 <= q <= 1 and difference):
        raise ValueError(f"Rates {p} and {q} must lie in 0..1 and differ.")
    alpha, beta = NormalDist().inv_cdf((1 + confidence) / 2), NormalDist().inv_cdf(power)
    if agreement is not None:
        discordant = 1 - agreement
        if not abs(difference) - 1e-9 <= discordant <= 1:  # 1 - 0.8 is a little below 0.2
            raise ValueError(
                f"Policies that differ by {difference:+} disagree on at least that share of episodes; agreement is at "
                f"most {1 - abs(difference):.3f}, got {agreement}."
            )
        root = alpha * math.sqrt(discordant) + beta * math.sqrt(discordant - difference**2)
        return math.ceil(root**2 / difference**2)
    mean = (p + q) / 2
    root = alpha * math.sqrt(2 * mean * (1 - mean)) + beta * math.sqrt(p * (1 - p) + q * (1 - q))
    return math.ceil(root**2 / difference**2)
