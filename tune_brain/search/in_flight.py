"""The trials that Ray has been given: which of them have a worker, which wait for one, and since when."""

from dataclasses import dataclass

LARGE_RETRY_PATIENCE = 600.0
"""Seconds for which a trial that needs more than one slot may keep other trials from starting."""


@dataclass
class InFlight:
    """A trial that Ray has been given. Times are seconds of the searcher's clock."""

    trial: int
    slots: int
    """How many it takes, all on one machine."""
    since: float
    """When it was dispatched."""
    up: float | None = None
    """When its worker began with it."""
    started: float | None = None
    """The same as Unix time, for its row."""
    worker: str = ""
    """Its worker, once that has begun."""
    new_epochs: bool = False
    """Whether it has completed an epoch that no earlier attempt had."""

    def is_out_of_patience(self, now: float) -> bool:
        """Whether it needs several slots and has waited so long that others should no longer wait for it."""
        return self.up is None and self.slots > 1 and self.since <= now - LARGE_RETRY_PATIENCE


class AllInFlight(dict[str, InFlight]):
    """All trials that Ray has been given, by its own ids of them."""

    @property
    def trials(self) -> set[int]:
        """The numbers of these trials."""
        return {one.trial for one in self.values()}

    def taken(self, now: float) -> int:
        """The slots that these trials take together; one that is out of patience takes none."""
        return sum(one.slots for one in self.values() if not one.is_out_of_patience(now))

    @property
    def any_up(self) -> bool:
        """Whether any of these trials has a worker."""
        return any(one.up is not None for one in self.values())

    def waiting(self, before: float, now: float) -> int:
        """How many trials were dispatched before a moment and have no worker yet.

        A trial that needs several slots may wait for those of others that train: it counts once it is out of
        patience.
        """
        return sum(
            one.up is None
            and one.since < before
            and (one.slots == 1 or not self.any_up or one.is_out_of_patience(now))
            for one in self.values()
        )

    def blocks_others(self, largest: int, now: float) -> bool:
        """Whether a trial waits for several slots of one machine, which must empty for it.

        Where others use the cluster too it may never empty: hence `LARGE_RETRY_PATIENCE`.

        Args:
            largest: how many slots the largest machine has.
            now: this moment.
        """
        return any(
            one.up is None and 1 < one.slots <= largest and not one.is_out_of_patience(now)
            for one in self.values()
        )

    def begun_before(self, moment: float) -> list[str]:
        """The ids of the trials whose worker began before this moment."""
        return [name for name, one in self.items() if one.up is not None and one.up < moment]

    def stranded(self, largest: int, *, late: bool) -> set[str]:
        """The ids of the trials to withdraw: no machine is large enough, or the time budget is spent.

        With no machine at all they stay pending, so that whoever adds one sees the demand.

        Args:
            largest: how many slots the largest machine has.
            late: whether the time budget is spent.
        """
        return {name for name, one in self.items() if one.up is None and (late or 0 < largest < one.slots)}
