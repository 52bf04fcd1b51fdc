"""Series of slices are recognised by file numbers and similarity, and cut in blocks."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tune_brain.data.series import SPLIT_BLOCKS, in_blocks, ordered_series

Slices = Callable[..., NDArray[np.uint8]]


def blocks(names: Sequence[str], thumbnails: NDArray[np.uint8], least: int = 1) -> NDArray[np.int64]:
    return in_blocks(len(names), ordered_series(names, thumbnails), least)


def test_ordered_series_are_grouped_in_blocks(slices: Slices) -> None:
    thumbnails = slices(6, 10)
    names = [f"train/a/gg ({i})-copy.jpg" for i in range(5, 65)]
    group = blocks(names, thumbnails)
    assert [len(set(group[start : start + 20])) for start in (0, 20, 40)] == [1, 1, 1]
    assert len(set(group)) == 3
    assert len(set(blocks(names, thumbnails, least=7))) == 8


@pytest.mark.parametrize(("n", "size"), [(21, 5), (40, 5), (60, 8), (139, 19), (140, 20), (400, 20)])
def test_small_series_that_are_split_make_smaller_blocks(slices: Slices, n: int, size: int) -> None:
    names = [f"a/{i}.jpg" for i in range(n)]
    group = blocks(names, slices(-(-n // 10), 10)[:n], SPLIT_BLOCKS)
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
    smaller = blocks(patients, thumbnails, SPLIT_BLOCKS)
    assert (smaller == group).all()
