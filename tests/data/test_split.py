import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tune_brain.data.split import cut
from tune_brain.errors import DataError


@st.composite
def grouped(draw: st.DrawFn) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels and groups; each class has at least two groups of its own, some groups mix classes."""
    pure = draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 12)), max_size=25))
    pure += [(label, draw(st.integers(1, 12))) for label in (0, 1, 2) for _ in range(2)]
    labels = [label for label, n in pure for _ in range(n)]
    groups = [number for number, (_, n) in enumerate(pure) for _ in range(n)]
    mixed = draw(st.lists(st.tuples(st.integers(0, 2), st.integers(100, 102)), max_size=10))
    return np.array(labels + [m[0] for m in mixed]), np.array(groups + [m[1] for m in mixed])


@settings(deadline=None)
@given(grouped(), st.sampled_from([0.15, 0.2]), st.integers(0, 3))
def test_no_group_is_split_and_no_class_is_missing(
    case: tuple[NDArray[np.int64], NDArray[np.int64]], share: float, seed: int
) -> None:
    labels, groups = case
    held_out = cut(labels, groups, share, seed)
    assert held_out.dtype == bool
    assert not set(groups[held_out]) & set(groups[~held_out])
    assert set(labels[held_out]) == set(labels[~held_out]) == {0, 1, 2}


@pytest.mark.parametrize("seed", range(5))
def test_every_class_gives_about_its_share(seed: int) -> None:
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 30, 150)
    groups = np.repeat(np.arange(150), sizes)
    labels = np.repeat(random.integers(0, 4, 150), sizes)
    held_out = cut(labels, groups, 0.15, seed)
    for label in range(4):
        assert held_out[labels == label].mean() == pytest.approx(0.15, abs=0.02)


def test_a_giant_group_stays_in_training() -> None:
    groups = np.concatenate([np.zeros(300, int), np.arange(1, 101)])
    labels = np.arange(400) % 2
    for seed in range(5):
        held_out = cut(labels, groups, 0.15, seed)
        assert not held_out[:300].any()
        assert held_out.mean() == pytest.approx(0.15, abs=0.01)


def test_a_class_of_few_groups_gives_the_smallest_that_keeps_all_classes_on_both_sides() -> None:
    large = np.repeat([0, 1], [25, 15])
    assert (cut(np.zeros(40, int), large, 0.15, 0) == (large == 1)).all()
    # Group 2 is the smallest of class 0, but the other group of class 1 is already held out.
    labels = np.array([1, 0, 1] + [0] * 20)
    groups = np.array([1, 2, 2] + [3] * 10 + [4] * 10)
    for seed in range(5):
        held_out = set(groups[cut(labels, groups, 0.15, seed)])
        assert held_out in ({1, 3}, {1, 4})


def test_the_seed_determines_the_split() -> None:
    labels, groups = np.arange(100) % 2, np.arange(100)
    assert (cut(labels, groups, 0.2, 1) == cut(labels, groups, 0.2, 1)).all()
    assert (cut(labels, groups, 0.2, 1) != cut(labels, groups, 0.2, 2)).any()


def test_a_class_of_one_group_cannot_be_split() -> None:
    with pytest.raises(DataError, match=r"found: glioma: its 3 images left in training are one group\."):
        cut(np.array(["glioma"] * 3 + ["notumor"] * 3), np.array([0, 0, 0, 1, 2, 3]), 0.2, 0)
    with pytest.raises(DataError, match="found: glioma: it has only one image left"):
        cut(np.array(["glioma"] + ["notumor"] * 3), np.arange(4), 0.2, 0)
    with pytest.raises(DataError, match="glioma: its 3 images left in training are 2 groups, which other"):
        cut(np.array(["glioma", "b", "glioma", "glioma", "c"]), np.array([0, 0, 1, 1, 1]), 0.2, 0)


@pytest.mark.parametrize("seed", range(8))
def test_one_large_group_does_not_become_the_held_out_part(seed: int) -> None:
    labels = np.zeros(1000, np.int64)
    labels[500:] = 1
    groups = np.arange(1000) // 5
    groups[:140] = 0  # nearly the whole share of its class
    held_out = cut(labels, groups, 0.15, seed)
    assert not held_out[:140].any()
    assert held_out[labels == 0].mean() == pytest.approx(0.15, abs=0.01)
