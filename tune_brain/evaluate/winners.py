"""Winners: from the rows of a search to one configuration for each architecture, chosen on validation."""

from collections.abc import Sequence

from tune_brain.records import TrialRow


def choose(rows: Sequence[TrialRow], full_length: int) -> TrialRow | None:
    """The full-length trial with the best macro-F1 on validation, the earlier of two equals; or None."""
    scored = [row for row in rows if row.epochs == full_length and row.score is not None]
    return max(scored, key=lambda row: (row.score, -row.trial), default=None)
