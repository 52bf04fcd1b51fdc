"""Worker health: which workers are up, and whether new ones can live at all."""

from collections.abc import Callable

LOST_IN_A_ROW = 6
"""So many lost workers without a completed epoch in between end a search; at least two per slot."""
START_PATIENCE = 30.0
"""Seconds for which no further worker is tried after one did not start."""


class WorkerHealth:
    """The workers that are up, the trials whose worker is starting, and the trials that lost theirs."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._up, self._starting = set[str](), set[str]()
        self._slots = 0
        self.cautious_until = clock()
        """Until then trials go only to workers that are up or starting."""
        self.lost_in_a_row: list[int] = []
        """The trials that lost their worker since the last completed epoch."""

    @property
    def all_lost(self) -> bool:
        """Whether so many workers were lost in a row that none can live."""
        return len(self.lost_in_a_row) >= max(LOST_IN_A_ROW, 2 * self._slots)

    def note_slots(self, slots: int) -> None:
        """Note how many slots there are.

        The largest count since the last completed epoch is kept: when all machines go at once all their
        workers are lost, which says nothing about the workers of a smaller machine that comes next.
        """
        self._slots = max(self._slots, slots)

    def holds_back(self, in_flight: int) -> bool:
        """Whether to dispatch nothing: a worker just failed to start, and all others have a trial."""
        return self._clock() < self.cautious_until and in_flight >= max(
            1, len(self._up) + len(self._starting)
        )

    def dispatched(self, trial_id: str, slots: int) -> None:
        """A trial was dispatched; if a slot has no worker yet, one starts for it."""
        if len(self._up) + len(self._starting) < slots:
            self._starting.add(trial_id)

    def started(self, trial_id: str, worker: str) -> None:
        """The worker of a trial has started, or was up already."""
        self._starting.discard(trial_id)
        self._up.add(worker)

    def epoch_completed(self) -> None:
        """A worker completed an epoch."""
        self.lost_in_a_row, self._slots = [], 0

    def ended(self, trial_id: str, worker: str = "") -> None:
        """A trial ended; `worker` names the one that was lost with it, if any."""
        self._starting.discard(trial_id)
        self._up.discard(worker)

    def keep(self, workers: set[str]) -> None:
        """Forget all other workers, which Tune has ended."""
        self._up &= workers

    def did_not_start(self) -> None:
        """A worker did not start."""
        self.cautious_until = self._clock() + START_PATIENCE
