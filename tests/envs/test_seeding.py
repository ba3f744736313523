"""Whatever ran before, an episode's draws are its own."""

import numpy as np
import pytest

from inspire_fast.envs.libero.seeding import FixtureSeeding, Placements


class Drawing:
    """Draws as LIBERO does: a number of values that depends on the values."""

    def __init__(self, seeding: FixtureSeeding) -> None:
        self.placements = Placements(7, seeding, self._reset)

    def _reset(self) -> None:
        self.drawn = [np.random.uniform() for _ in range(1 + np.random.randint(5))]

    def episode(self, number: int) -> list[float]:
        np.random.rand(3)  # somebody else draws meanwhile
        self.placements.place(number, 0)
        return self.drawn


def test_a_sequence_is_what_drawing_on_from_one_seed_gives():
    np.random.seed(7)
    drawing, expected = Drawing("sequence"), []
    for _ in range(4):
        drawing._reset()
        expected.append(drawing.drawn)
    for order in ([0, 1, 2, 3], [3, 0, 2, 1], [2, 2, 3]):
        other = Drawing("sequence")
        assert [other.episode(n) for n in order] == [expected[n] for n in order]
    with pytest.raises(ValueError, match="at most 1000"):
        drawing.episode(1000)


@pytest.mark.parametrize(("seeding", "alike"), [("constant", True), ("episode", False)])
def test_episodes_of_their_own(seeding: FixtureSeeding, alike: bool):
    drawing = Drawing(seeding)
    first, second = drawing.episode(0), drawing.episode(1)
    assert (first == second) == alike
    assert Drawing(seeding).episode(1) == second


@pytest.mark.parametrize("seeding", ["sequence", "constant", "episode"])
def test_the_callers_generator_goes_on_as_before(seeding: FixtureSeeding):
    np.random.seed(5)
    Drawing(seeding).placements.place(2, 0)
    assert np.random.rand() == np.random.RandomState(5).rand()
