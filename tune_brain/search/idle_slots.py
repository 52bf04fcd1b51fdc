"""Idle slots: CPUs that no further trial can use go to the last ones of the search. Pure."""

from collections.abc import Collection

from tune_brain.config import RunConfig
from tune_brain.search.in_flight import AllInFlight
from tune_brain.search.ladder import Retry, Train, next_step
from tune_brain.search.study import Study
from tune_brain.slots import Slots

MOST = 4
"""Threads of a trial at most: more were never measured, and a batch has few images to share."""


def threads(
    studies: Collection[Study], config: RunConfig, running: AllInFlight, slots: Slots, now: float
) -> int:
    """How many CPU threads each running trial may use.

    One, unless all of them are further seeds of configurations and nothing is left to start: then they share
    the idle slots. Trials of the ladder stay reproducible to the last bit, which another number of threads
    would change. Not on a cluster: which machine is idle is not known here, and its CPUs may be others'.

    Args:
        studies: all of the search.
        config: of the search.
        running: the trials that Ray has been given.
        slots: of the cluster; a trial on a GPU needs no further thread.
        now: this moment, of the searcher's clock.
    """
    if config.address or slots.gpus:
        return 1
    numbers = running.trials
    repeats = [row.repeat for study in studies for row in study.unsettled.values() if row.trial in numbers]
    if not repeats or not all(repeats):
        return 1
    if any(isinstance(next_step(study, config, numbers), Retry | Train) for study in studies):
        return 1
    return min(MOST, 1 + max(0, slots.count - running.taken(now)) // len(repeats))
