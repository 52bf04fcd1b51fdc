"""Seeds from names: the same for ever, and unrelated for different names."""

import hypothesis.strategies as st
from hypothesis import assume, given, settings

from tune_brain.seeds import derive

NAMES = st.lists(st.text() | st.integers(), max_size=3)


def test_a_seed_never_changes() -> None:
    assert derive(0, "cnn", 3, 12) == 6152791261483206124


def test_order_and_type_and_borders_matter() -> None:
    seeds = [
        derive(*names)
        for names in [(1, 23), (23, 1), (12, 3), (123,), ("1", 23), ("1", "23"), ("", 1, 23), ()]
    ]
    assert len(set(seeds)) == len(seeds)


@settings(deadline=None, max_examples=30)
@given(NAMES, NAMES)
def test_unequal_names_give_unequal_seeds(one: list[str | int], other: list[str | int]) -> None:
    assume(one != other)
    assert derive(*one) != derive(*other)


@settings(deadline=None, max_examples=30)
@given(NAMES)
def test_a_seed_fits_every_generator(names: list[str | int]) -> None:
    assert 0 <= derive(*names) < 2**63
    assert derive(*names) == derive(*names)
