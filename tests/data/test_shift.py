"""Where the test images of a class come from is judged by groups of related images, whatever their size."""

import numpy as np
import pytest

from tune_brain.data.shift import origin


def test_a_large_group_weighs_no_more_than_a_single_image() -> None:
    # Of 20 groups in the test, five blocks of 20 brighter slices; outside it 20 single images and a block.
    unseen, unseen_groups = np.repeat([11.0, 10.0], [100, 15]), np.repeat(np.arange(20), [20] * 5 + [1] * 15)
    others, other_groups = np.repeat([10.0, 12.0], [20, 60]), np.repeat(np.arange(21), [1] * 20 + [60])
    values, test = np.concatenate([unseen, others]), np.repeat([True, False], [115, 80])
    verdict = origin(
        {"brightness": values},
        np.zeros(195, np.int64),
        test,
        np.zeros(195, bool),
        np.concatenate([unseen_groups, 100 + other_groups]),
        ["a"],
    )["a"]
    # Brighter than 20 of 21 groups, and as bright as half of them.
    assert verdict["share"] == pytest.approx(5 / 20 * 20 / 21 + 15 / 20 * 10 / 21, abs=1e-4)
    assert verdict["elsewhere"] is False
