from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tune_brain.data import twins
from tune_brain.data.cache import decode
from tune_brain.data.catalogue import scan
from tune_brain.data.split import join
from tune_brain.data.twins import twin_groups, unit_vectors


def pictures(*seeds: int) -> NDArray[np.uint8]:
    return np.stack([np.random.default_rng(seed).integers(0, 256, (32, 32), np.uint8) for seed in seeds])


def sharing(group: NDArray[np.int64]) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(group == number).tolist()) for number in group}


def test_equal_digests_and_like_thumbnails_are_twins() -> None:
    thumbnails = pictures(1, 2, 3, 1, 4)
    thumbnails[3] = thumbnails[3] // 2 + 20  # darker and flatter, still the same picture
    thumbnails[4] = thumbnails[2]
    thumbnails[4, :8] = 0
    assert sharing(twin_groups(["a", "b", "c", "d", "e"], thumbnails)) == {
        frozenset({0, 3}),
        frozenset({1}),
        frozenset({2}),
        frozenset({4}),
    }
    flat = np.zeros_like(thumbnails)
    assert sharing(twin_groups(["a", "b", "a", "d", "b"], flat)) == {
        frozenset({0, 2}),
        frozenset({1, 4}),
        frozenset({3}),
    }


def test_mirrored_copies_are_twins_and_copies_upside_down_are_not() -> None:
    thumbnails = pictures(1, 1, 1, 2)
    thumbnails[1] = thumbnails[1, :, ::-1] // 2
    thumbnails[2] = thumbnails[2, ::-1]
    assert len(set(twin_groups(list("abcd"), thumbnails))) == 4
    assert sharing(twin_groups(list("abcd"), thumbnails, mirrored=True)) == {
        frozenset({0, 1}),
        frozenset({2}),
        frozenset({3}),
    }


def test_twins_of_twins_share_a_group() -> None:
    first, last = pictures(1, 2).astype(float)
    between = np.stack([first + (last - first) * share for share in (0, 0.05, 0.1, 0.15)]).astype(np.uint8)
    vectors = unit_vectors(between)
    assert vectors[0] @ vectors[1] > 0.995 > vectors[0] @ vectors[3]
    assert len(set(twin_groups(list("abcd"), between))) == 1


def test_flat_thumbnails_correlate_with_nothing() -> None:
    thumbnails = np.stack([np.full((32, 32), grey, np.uint8) for grey in (0, 7, 255)])
    assert (unit_vectors(thumbnails) == 0).all()
    assert len(set(twin_groups(list("abc"), thumbnails))) == 3


def test_no_images() -> None:
    assert twin_groups([], np.zeros((0, 32, 32), np.uint8)).shape == (0,)


@settings(deadline=None)
@given(seeds=st.lists(st.integers(0, 6), min_size=1, max_size=20))
def test_chunks_do_not_matter(seeds: list[int]) -> None:
    thumbnails = pictures(*seeds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(twins, "CHUNK", 3)
        group = twin_groups([str(i) for i in range(len(seeds))], thumbnails)
    assert group.dtype == np.int64
    assert (np.equal.outer(group, group) == np.equal.outer(seeds, seeds)).all()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "across"), [("sartaj", 259), ("nickparvar", 980)])
def test_published_test_parts_leak(real: Path, name: str, across: int) -> None:
    catalogue = scan(real / name)
    decoded, failures = decode([catalogue.root / image.name for image in catalogue.images], 16)
    assert failures == {}
    ways = (twin_groups(decoded.digests, decoded.thumbnails, mirrored=way) for way in (False, True))
    group = join(*ways)
    test = np.array([image.part == "test" for image in catalogue.images])
    assert np.isin(group[test], group[~test]).sum() == pytest.approx(across, abs=3)
