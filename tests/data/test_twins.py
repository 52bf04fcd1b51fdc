from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tune_brain.data.cache import decode
from tune_brain.data.catalogue import scan
from tune_brain.data.similarity import unit_vectors
from tune_brain.data.twins import twin_groups


def pictures(*seeds: int) -> NDArray[np.uint8]:
    return np.stack([np.random.default_rng(seed).integers(0, 256, (32, 32), np.uint8) for seed in seeds])


def sharing(group: NDArray[np.int64]) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(group == number).tolist()) for number in group}


def test_equal_digests_and_similar_thumbnails_are_twins() -> None:
    thumbnails = pictures(1, 2, 3, 1, 4)
    thumbnails[3] = thumbnails[3] // 2 + 20  # darker and flatter, still the same picture
    thumbnails[4] = thumbnails[2]
    thumbnails[4, :8] = 0
    assert sharing(twin_groups(["a", "b", "c", "d", "e"], thumbnails)[0]) == {
        frozenset({0, 3}),
        frozenset({1}),
        frozenset({2}),
        frozenset({4}),
    }
    flat = np.zeros_like(thumbnails)
    assert sharing(twin_groups(["a", "b", "a", "d", "b"], flat)[0]) == {
        frozenset({0, 2}),
        frozenset({1, 4}),
        frozenset({3}),
    }


def test_an_upside_down_copy_is_not_a_twin() -> None:
    thumbnails = pictures(1, 1)
    thumbnails[1] = thumbnails[1, ::-1]
    _, with_mirrored = twin_groups(["a", "b"], thumbnails)
    assert len(set(with_mirrored)) == 2


def test_twins_of_twins_share_a_group() -> None:
    first, last = pictures(1, 2).astype(float)
    between = np.stack([first + (last - first) * share for share in (0, 0.05, 0.1, 0.15)]).astype(np.uint8)
    vectors = unit_vectors(between)
    assert vectors[0] @ vectors[1] > 0.995 > vectors[0] @ vectors[3]
    assert len(set(twin_groups(list("abcd"), between)[0])) == 1


def test_uniform_thumbnails_correlate_with_nothing() -> None:
    thumbnails = np.stack([np.full((32, 32), grey, np.uint8) for grey in (0, 7, 255)])
    assert (unit_vectors(thumbnails) == 0).all()
    assert len(set(twin_groups(list("abc"), thumbnails)[1])) == 3


def test_no_images_have_no_groups() -> None:
    assert [group.shape for group in twin_groups([], np.zeros((0, 32, 32), np.uint8))] == [(0,), (0,)]


# Finding the axes for an index takes longer than all else, so a few large examples.
@settings(deadline=None, max_examples=10)
@example(seeds=[0], flipped=set())
@example(seeds=[0, 0, 1], flipped={1})
@given(seeds=st.lists(st.integers(0, 6), min_size=8, max_size=20), flipped=st.sets(st.integers(0, 19)))
def test_groups_match_a_comparison_of_all_pairs(seeds: list[int], flipped: set[int]) -> None:
    thumbnails = pictures(*seeds)
    mirrored = np.array([index in flipped for index in range(len(seeds))])
    thumbnails[mirrored] = thumbnails[mirrored, :, ::-1]
    group, with_mirrored = twin_groups([str(index) for index in range(len(seeds))], thumbnails)
    same = np.equal.outer(seeds, seeds)
    assert group.dtype == with_mirrored.dtype == np.int64
    assert (np.equal.outer(group, group) == (same & np.equal.outer(mirrored, mirrored))).all()
    assert (np.equal.outer(with_mirrored, with_mirrored) == same).all()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "across"), [("sartaj", 259), ("nickparvar", 980)])
def test_published_test_parts_leak(real: Path, name: str, across: int) -> None:
    catalogue = scan(real / name)
    decoded, failures = decode([catalogue.root / image.name for image in catalogue.images], 16)
    assert failures == {}
    _, group = twin_groups(decoded.digests, decoded.thumbnails)
    test = np.array([image.part == "test" for image in catalogue.images])
    assert np.isin(group[test], group[~test]).sum() == pytest.approx(across, abs=3)
