"""Where a run stands, by its rows and files, and the command that comes next."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from tune_brain.config import RunConfig
from tune_brain.layout import SCORES, SEAL, SEED_RUNS
from tune_brain.lock import EVALUATE
from tune_brain.records import TrialRow, by_arch
from tune_brain.runs import has_winners
from tune_brain.search.chance import caution, no_better_than_constant
from tune_brain.search.convergence import convergence
from tune_brain.search.ladder import came_to_nothing, unfinished
from tune_brain.text import quoted

RunState = Literal["searching", "evaluating", "evaluated", "failed", "interrupted", "out of time", "searched"]
"""`failed`: no trial completed; `out of time`: the time budget ended the search, whose winners may stand."""


def state_of(config: RunConfig, rows: Sequence[TrialRow], command: str | None) -> RunState:
    """The state of a run.

    Args:
        config: of the run.
        rows: the latest row of each of its trials.
        command: of the lock's holder; None if nothing writes to the run.
    """
    if command is not None:
        return "evaluating" if command == EVALUATE else "searching"
    if (config.out / SCORES).exists():
        return "evaluated"
    if came_to_nothing(rows, config):
        return "failed"
    left = unfinished(rows, config)
    if not has_winners(config) or (left and config.time_budget is None):
        return "interrupted"
    return "out of time" if left else "searched"


def is_frozen(config: RunConfig) -> bool:
    """Whether seed runs have begun or the test is open, so that the search can no longer be extended."""
    return any((config.out / name).exists() for name in (SEED_RUNS, SEAL))


def next_command(
    config: RunConfig, rows: Sequence[TrialRow], state: RunState, validation: Mapping[str, int]
) -> str:
    """What to call next, in one or more sentences or lines.

    Args:
        config: of the run.
        rows: the latest row of each of its trials.
        state: see `state_of`.
        validation: number of validation images by class; empty if it is not known.
    """
    folder = quoted(config.out)
    if state in ("searching", "evaluating"):
        return f"Cancel it with: tune-brain cancel {folder}"
    if state == "evaluated":
        return f"Export its winners: tune-brain export {folder} --to DIR"
    return came_to_nothing(rows, config) or _continued(config, rows, state, validation) + _where(config)


def _continued(
    config: RunConfig, rows: Sequence[TrialRow], state: RunState, validation: Mapping[str, int]
) -> str:
    folder = quoted(config.out)
    if state == "interrupted":
        return f"Continue with: tune-brain resume {folder}"
    evaluate = f"tune-brain evaluate {folder}"
    score = f"Score the winners on the sealed test, once: {evaluate}"
    if is_frozen(config):
        return score
    if archs := no_better_than_constant(rows, config, validation):
        return (
            f"{caution(archs, validation)}\nWider ranges: {widening(config, rows)}\n"
            f"To score the winners all the same: {evaluate}"
        )
    if state == "out of time":
        return f"{score}\nIts time budget ran out; to finish the search: tune-brain resume {folder}"
    return f"{score}\nOr sample more: tune-brain extend {folder} {_more(config, rows)}"


def widening(config: RunConfig, rows: Sequence[TrialRow]) -> str:
    """The command with which a search that has ended continues in wider ranges."""
    return f"tune-brain extend {quoted(config.out)} --spaces DIR {_more(config, rows, any)}"


def _more(config: RunConfig, rows: Sequence[TrialRow], enough: Callable[[Iterable[bool]], bool] = all) -> str:
    """The options of `extend` without which nothing is sampled, once `enough` studies have converged."""
    studies = by_arch(rows, config.arch).values() if config.until_converged else ()
    ended = [convergence(of, config.ladder[0]) for of in studies]
    goes_on = " --no-until-converged" if ended and enough(bool(of and of.reached) for of in ended) else ""
    return f"--configs N{goes_on}"


def _where(config: RunConfig) -> str:
    """Which machines the advised commands use, if these are not simply those of this machine."""
    if config.address is None:
        return ""
    return (
        f"\nThey join the Ray cluster of the search (--address {config.address}). "
        "With --address local, the machine on which you call them trains instead."
    )
