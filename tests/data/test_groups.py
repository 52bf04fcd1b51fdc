import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tune_brain.data.groups import group_counts, join, share_group, tied


def test_ties_are_transitive_and_groups_are_numbered_by_first_member() -> None:
    group = tied(6, np.array([5, 3, 2]), np.array([1, 5, 4]))
    assert group.tolist() == [0, 1, 2, 1, 2, 1]
    assert tied(2, np.zeros(0, np.int64), np.zeros(0, np.int64)).tolist() == [0, 1]


groupings = st.integers(1, 30).flatmap(
    lambda n: st.lists(
        st.lists(st.integers(0, 9), min_size=n, max_size=n).map(np.array), min_size=1, max_size=3
    )
)


@settings(deadline=None)
@given(groupings)
def test_join_is_the_finest_common_coarsening(given_groups: list[NDArray[np.int64]]) -> None:
    joined = join(*given_groups)
    linked = np.any([np.equal.outer(group, group) for group in given_groups], axis=0)
    for _ in range(len(joined)):
        linked = linked @ linked
    assert joined.dtype == np.int64
    assert (np.equal.outer(joined, joined) == linked).all()


def test_only_the_images_in_question_that_share_a_group_with_others_are_found() -> None:
    groups, images = np.array([7, 7, 3, 3, 5, 5]), np.array([True, False, True, True, False, False])
    assert share_group(groups, images, ~images).tolist() == [True, False, False, False, False, False]


def test_images_alone_in_their_group_are_not_counted() -> None:
    assert group_counts(np.array([0, 1, 1, 4, 4, 4])) == {"groups": 2, "images": 5}
