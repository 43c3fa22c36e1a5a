"""What befalls a request is drawn by the seed alone."""

from __future__ import annotations

from collections import Counter

from tests.chaos.faults import Fault, Faults, Rates
from tests.chaos.script import Script

RATES: Rates = {Fault.ERROR: 0.2, Fault.RESET: 0.1}
KEYS = ("GET /a", "PUT /b")


async def drawn(seed: int, order: tuple[str, ...]) -> dict[str, list[Fault | None]]:
    """Draw two hundred times for each key, taking turns in an order."""
    faults = Faults(seed)
    found: dict[str, list[Fault | None]] = {key: [] for key in order}
    for _ in range(200):
        for key in order:
            found[key].append(faults.draw(key, RATES))
    return found


async def test_a_seed_draws_the_same_again_however_paths_take_turns() -> None:
    assert await drawn(7, KEYS) == await drawn(7, KEYS[::-1])


async def test_another_seed_draws_other_faults() -> None:
    assert await drawn(7, KEYS) != await drawn(8, KEYS)


async def test_faults_are_as_frequent_as_their_rates() -> None:
    counts = Counter((await drawn(7, KEYS))["GET /a"])
    assert 20 <= counts[Fault.ERROR] <= 60
    assert 8 <= counts[Fault.RESET] <= 35


async def test_faults_that_are_not_chosen_do_not_happen_and_the_others_do_as_before() -> None:
    every, resets = Faults(7), Faults(7, frozenset({Fault.RESET}))
    both = [(every.draw("GET /a", RATES), resets.draw("GET /a", RATES)) for _ in range(200)]
    assert {chosen for _, chosen in both} == {None, Fault.RESET}
    assert all((drawn is Fault.RESET) == (chosen is Fault.RESET) for drawn, chosen in both)


async def test_nothing_happens_once_the_faults_are_over() -> None:
    faults = Faults(7)
    faults.end()
    assert {faults.draw("GET /a", RATES) for _ in range(100)} == {None}
    await faults.until_over()


def test_a_seed_tells_the_same_story_again() -> None:
    first, again, other = Script(3), Script(3), Script(4)
    assert list(first.acts()) == list(again.acts()) != list(other.acts())
    assert first.adapters == again.adapters


def test_a_script_ends_with_nobody_suspended() -> None:
    for seed in range(50):
        script = Script(seed)
        assert list(script.acts())
        assert not any(spec.get("suspend") for spec in script.adapters.values())
