"""The crew of a search: its workers, as far as it has heard of them, and whether any can live."""

from collections.abc import Callable

LOST_IN_A_ROW = 6
"""So many workers lost, no epoch heard from any between, end a search: none can live. At least two a slot."""
PATIENCE = 30.0
"""Seconds that a search waits with another worker where one did not start."""


class WorkerHealth:
    """Which workers are up, for which trials one is on its way, and which trials have lost theirs."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._up, self._coming = set[str](), set[str]()
        self._slots = 0
        self.wary_until = clock()
        """Till then trials are given to those workers only that are up or on their way."""
        self.lost_in_a_row: list[int] = []
        """The trials that lost their workers since an epoch was heard of last."""

    @property
    def all_lost(self) -> bool:
        """Whether no worker can live."""
        return len(self.lost_in_a_row) >= max(LOST_IN_A_ROW, 2 * self._slots)

    def hear_slots(self, slots: int) -> None:
        """Hear of how many slots there are.

        The most since an epoch was heard of count: where all machines go at once, so do all workers, and
        nothing is wrong with those of a smaller machine that comes next.
        """
        self._slots = max(self._slots, slots)

    def holds_back(self, live: int) -> bool:
        """Whether one more than `live` trials would go where no worker may start, as one just did not."""
        return self._clock() < self.wary_until and live >= max(1, len(self._up) + len(self._coming))

    def called(self, trial_id: str, slots: int) -> None:
        """A trial begins: on a worker of its own if one of so many slots is without."""
        if len(self._up) + len(self._coming) < slots:
            self._coming.add(trial_id)

    def started(self, trial_id: str, worker: str) -> None:
        """The worker of a trial has started, or was there."""
        self._coming.discard(trial_id)
        self._up.add(worker)

    def heard_epoch(self) -> None:
        """An epoch was heard of."""
        self.lost_in_a_row, self._slots = [], 0

    def ended(self, trial_id: str, worker: str = "") -> None:
        """A trial has ended, or lost its worker."""
        self._coming.discard(trial_id)
        self._up.discard(worker)

    def did_not_start(self) -> None:
        """A worker did not start."""
        self.wary_until = self._clock() + PATIENCE
