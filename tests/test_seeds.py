"""Seeds from names: never changing, and different for different names."""

import hypothesis.strategies as st
from hypothesis import assume, given, settings

from tune_brain.seeds import derive

NAMES = st.lists(st.text() | st.integers(), max_size=3)


def test_the_seed_of_given_names_never_changes() -> None:
    assert derive(0, "cnn", 3, 12) == 6152791261483206124


def test_the_order_types_and_boundaries_of_names_matter() -> None:
    seeds = [
        derive(*names)
        for names in [(1, 23), (23, 1), (12, 3), (123,), ("1", 23), ("1", "23"), ("", 1, 23), ()]
    ]
    assert len(set(seeds)) == len(seeds)


@settings(deadline=None, max_examples=30)
@given(NAMES, NAMES)
def test_different_names_give_different_seeds(one: list[str | int], other: list[str | int]) -> None:
    assume(one != other)
    assert derive(*one) != derive(*other)


@settings(deadline=None, max_examples=30)
@given(NAMES)
def test_a_seed_is_repeatable_and_in_the_range_of_every_generator(names: list[str | int]) -> None:
    assert 0 <= derive(*names) < 2**63
    assert derive(*names) == derive(*names)
