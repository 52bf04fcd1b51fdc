"""Fair share: the order in which the studies of a search get the next slot. Pure."""

from collections.abc import Collection, Mapping

from tune_brain.config import ARCHITECTURES
from tune_brain.search.study import Study


def by_need(studies: Mapping[str, Study], in_flight: Collection[int], head_start: int) -> list[str]:
    """The studies, the one with the fewest epochs first, the heavier first among equals.

    All studies begin with their baselines. Near its end a study has a single configuration on the ladder; for
    lighter studies to have work for the other slots then, each study is kept ahead of the next lighter one.
    Trials that an interrupted driver or a lost worker left do not count, so the same study is chosen again.

    Args:
        studies: by architecture.
        in_flight: the numbers of the trials that Ray has been given.
        head_start: by how many epochs a study is kept ahead of the next lighter one.
    """

    def need(arch: str) -> tuple[bool, int, int]:
        study = studies[arch]
        left = (
            row for row in study.unsettled.values() if row.state == "failed" or row.trial not in in_flight
        )
        epochs = study.allotted - sum(row.epochs for row in left)
        weight = ARCHITECTURES.index(arch)
        return epochs > 0, epochs - head_start * weight, -weight

    return sorted(studies, key=need)
