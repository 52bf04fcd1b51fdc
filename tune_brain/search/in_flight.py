"""The trials in Ray's hands: which have a worker and which wait for one, and since when."""

from dataclasses import dataclass

PATIENCE = 600.0
"""Seconds for which what needs more room than a slot keeps others from starting."""


@dataclass
class InFlight:
    """A trial in Ray's hands."""

    trial: int
    room: int
    """How many slots it takes."""
    since: float
    """When it was handed out; all times are those of the searcher's clock, in seconds."""
    up: float | None = None
    """When its worker began with it."""
    worker: str = ""
    """Which it is, once it has begun."""
    further: bool = False
    """Whether an epoch of it ended that had not ended before."""

    def waits_in_vain(self, now: float) -> bool:
        """Whether it has waited for more room than a slot for longer than others should wait for it."""
        return self.up is None and self.room > 1 and self.since <= now - PATIENCE


class AllInFlight(dict[str, InFlight]):
    """All of them, by Ray's name of each."""

    @property
    def trials(self) -> set[int]:
        """Their numbers."""
        return {live.trial for live in self.values()}

    def taken(self, now: float) -> int:
        """The slots that they take together; what has waited for its room for too long takes none."""
        return sum(live.room for live in self.values() if not live.waits_in_vain(now))

    @property
    def any_up(self) -> bool:
        """Whether one of them has a worker."""
        return any(live.up is not None for live in self.values())

    def waiting(self, before: float) -> int:
        """How many were handed out before this moment and have no worker yet."""
        return sum(live.up is None and live.since < before for live in self.values())

    def waits_for_room(self, largest: int, now: float) -> bool:
        """Whether one needs more than a slot and is not up yet: its machine must empty for it.

        It may not, where others use the cluster as well: then the rest goes on after a while.

        Args:
            largest: how many slots the largest machine has.
            now: this moment.
        """
        return any(
            live.up is None and 1 < live.room <= largest and not live.waits_in_vain(now)
            for live in self.values()
        )

    def begun_before(self, moment: float) -> list[str]:
        """Those whose worker began with them before this moment."""
        return [name for name, live in self.items() if live.up is not None and live.up < moment]

    def stranded(self, largest: int, *, late: bool) -> set[str]:
        """Those whose workers are not up, and will not be or need not: no machine is large enough.

        Or the time is over, in which no trial starts any more. Where there is no machine at all, who adds
        some shall see what is waited for.

        Args:
            largest: how many slots the largest machine has.
            late: whether the time is over.
        """
        return {name for name, live in self.items() if live.up is None and (late or 0 < largest < live.room)}
