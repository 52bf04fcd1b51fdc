"""Whose turn it is: the studies of a search in the order in which they get the next slot. Pure."""

from collections.abc import Collection, Mapping

from tune_brain.config import ARCHITECTURES
from tune_brain.search.study import Study


def by_need(studies: Mapping[str, Study], live: Collection[int], lead: int) -> list[str]:
    """The studies, furthest behind in epochs first; of equals the heaviest. All begin with their baselines.

    A study ends with one configuration that climbs the ladder alone. So that lighter ones have work for the
    other slots meanwhile, a heavier study is kept ahead of each of them.

    What an interrupted driver or a dead worker left does not count: it is chosen again as it was then.

    Args:
        studies: by architecture.
        live: the numbers of the trials that a worker is training now.
        lead: by how many epochs a study is kept ahead of the next lighter one.
    """

    def need(arch: str) -> tuple[bool, int, int]:
        study = studies[arch]
        left = (row for row in study.unsettled.values() if row.state == "failed" or row.trial not in live)
        spent = study.spent - sum(row.epochs for row in left)
        heavier = ARCHITECTURES.index(arch)
        return spent > 0, spent - lead * heavier, -heavier

    return sorted(studies, key=need)
