from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tune_brain.data.split import SPLIT_BLOCKS, blocks, cut, in_blocks, series_in_order
from tune_brain.errors import DataError

Slices = Callable[..., NDArray[np.uint8]]


def test_ordered_series_are_grouped_in_blocks(slices: Slices) -> None:
    thumbnails = slices(6, 10)
    names = [f"train/a/gg ({i})-copy.jpg" for i in range(5, 65)]
    group = blocks(names, thumbnails)
    assert [len(set(group[start : start + 20])) for start in (0, 20, 40)] == [1, 1, 1]
    assert len(set(group)) == 3
    assert len(set(in_blocks(60, series_in_order(names, thumbnails), least=7))) == 8


@pytest.mark.parametrize(("n", "size"), [(21, 5), (40, 5), (60, 8), (139, 19), (140, 20), (400, 20)])
def test_small_series_that_are_split_make_smaller_blocks(slices: Slices, n: int, size: int) -> None:
    names = [f"a/{i}.jpg" for i in range(n)]
    group = in_blocks(n, series_in_order(names, slices(-(-n // 10), 10)[:n]), SPLIT_BLOCKS)
    assert group.tolist() == [i // size * size for i in range(n)]


def test_the_order_is_that_of_the_file_numbers(slices: Slices) -> None:
    thumbnails, shuffled = slices(6, 10), np.random.default_rng(1).permutation(60)
    names = np.array([f"a/{i}.jpg" for i in range(60)])
    group = blocks(names[shuffled].tolist(), thumbnails[shuffled])
    assert (np.equal.outer(group, group) == np.equal.outer(shuffled // 20, shuffled // 20)).all()


def test_shuffled_series_have_no_blocks(slices: Slices) -> None:
    thumbnails = np.random.default_rng(1).permutation(slices(6, 10))
    assert len(set(blocks([f"a/{i}.jpg" for i in range(60)], thumbnails))) == 60


def test_short_uniform_and_unnumbered_series_have_no_blocks(slices: Slices) -> None:
    thumbnails = slices(6, 10)
    assert len(set(blocks([f"a/{i}.jpg" for i in range(20)], thumbnails[:20]))) == 20
    assert len(set(blocks([f"a/{i}.jpg" for i in range(60)], np.zeros_like(thumbnails)))) == 60
    assert len(set(blocks(["a/" + "x" * i + ".jpg" for i in range(60)], thumbnails))) == 60
    assert blocks([], thumbnails[:0]).shape == (0,)


def test_order_by_chance_or_weak_order_makes_no_blocks(slices: Slices) -> None:
    for seed in range(40):
        few = np.random.default_rng(seed).permutation(slices(6, 4, seed))
        assert len(set(blocks([f"a/{i}.jpg" for i in range(24)], few))) == 24
    random = np.random.default_rng(0)
    weak = slices(60, 10) * 0.25 + 0.75 * random.permutation(slices(60, 10, seed=1))
    assert len(set(blocks([f"a/{i}.jpg" for i in range(600)], weak.astype(np.uint8)))) == 600


def test_the_short_series_of_a_folder_are_judged_together(slices: Slices) -> None:
    """Six patients with ten slices each, distinguished by letters."""
    thumbnails = slices(6, 10)
    names = [f"a/{'abcdef'[i // 10]}_{i % 10:02}.jpg" for i in range(60)]
    assert blocks(names, thumbnails).tolist() == [i // 10 * 10 for i in range(60)]
    strangers = np.random.default_rng(0).permutation(thumbnails)
    assert len(set(blocks(names, strangers))) == 60
    # Two of them are too few to judge.
    assert len(set(blocks(names[:20], thumbnails[:20]))) == 20


def test_folders_names_and_patients_delimit_series(slices: Slices) -> None:
    thumbnails = slices(6, 10)
    folders = [f"{'ab'[i >= 30]}/{i}.jpg" for i in range(60)]
    assert len(set(blocks(folders, thumbnails))) == 4
    patients = [f"a/p{i // 10}_slice{i % 10}_t1.jpg" for i in range(60)]
    group = blocks(patients, thumbnails)
    assert (np.equal.outer(group, group) == np.equal.outer(np.arange(60) // 10, np.arange(60) // 10)).all()
    # A patient of at most 20 slices is not cut into smaller blocks.
    smaller = in_blocks(60, series_in_order(patients, thumbnails), SPLIT_BLOCKS)
    assert (smaller == group).all()


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
