"""The samplers: from a study's rows to the values of its next configuration, through Optuna.

A small in-memory Optuna study is built anew from the rows for each, so the rows stay the only truth: nothing
is left running by a crash, nothing is asked twice, and equal rows give equal suggestions.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from threadpoolctl import threadpool_limits

from tune_brain.config import Sampler
from tune_brain.errors import ConfigError
from tune_brain.records import TrialRow
from tune_brain.search.study import Study, Trials
from tune_brain.seeds import derive
from tune_brain.space import Space

STARTUP = 10
"""Configurations sampled without looking at the rows before TPE or GP takes over (Optuna's own default)."""


class _SharedTrial(FrozenTrial):
    """A trial that one study after another may keep, without the copy and the check that each would make.

    To copy all of them took more than half of the time of a suggestion.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def _validate(self) -> None:
        pass


class _Tpe(optuna.samplers.TPESampler):
    """TPE that knows the space of its trials, which it would look for in all of them at each suggestion."""

    def __init__(self, known: dict[str, BaseDistribution], **options: Any) -> None:
        super().__init__(multivariate=True, constant_liar=True, **options)
        self._known = dict(sorted(known.items()))

    def infer_relative_search_space(
        self,
        study: optuna.Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """What it was told."""
        return self._known


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The tuned hyperparameters of a space as Optuna's distributions."""
    return {
        name: IntDistribution(int(limits.low), int(limits.high), log=limits.log)
        if name in space.whole
        else FloatDistribution(limits.low, limits.high, log=limits.log)
        for name, limits in space.tuned.items()
    }


class StudySampler:
    """Suggests the configurations of one study; equal rows give equal suggestions, whatever came before.

    What it keeps from one suggestion to the next spares time alone: Optuna's trial of each configuration,
    until one of its rows changes (for `gp` they are made anew).
    """

    def __init__(self, space: Space, ladder: Sequence[int], *, seed: int, sampler: Sampler = "tpe") -> None:
        """Begin.

        Args:
            space: what is tuned.
            ladder: the rungs, in epochs, rising.
            seed: the search's.
            sampler: `random`: evenly at random. `halton`: points of a scrambled Halton sequence, which cover
                the space evenly. `tpe`, `halton-tpe`: Optuna's multivariate TPE with constant liar after a
                start with either. `gp`: Optuna's Gaussian process on the scores at the first rung, the only
                length that all configurations have.
        """
        self._space, self._seed, self._sampler = space, seed, sampler
        self._length = ladder[0 if sampler == "gp" else -1]
        self._distributions = distributions(space)
        self._trials: dict[int, tuple[Trials, FrozenTrial | None]] = {}

    def suggest(self, study: Study, number: int) -> dict[str, float]:
        """Values for configuration `number`, counted from 1, from the study's rows so far."""
        space, sampler = self._space, self._sampler
        if sampler == "halton" or (sampler == "halton-tpe" and number <= STARTUP):
            return _halton(space, derive(self._seed, space.arch, "halton"), number)
        own = derive(self._seed, space.arch, "sampler", number) % 2**32
        if sampler == "random":
            built = self.optuna_study((), optuna.samplers.RandomSampler(seed=own))
        elif sampler == "gp":
            gp = optuna.samplers.GPSampler(n_startup_trials=STARTUP, seed=own)
            built = self.optuna_study(_scored(study.for_sampler(), self._length), gp)
            return _asked_on_one_thread(built, self._distributions)
        else:
            startup = STARTUP if sampler == "tpe" else 1
            tpe = _Tpe(self._distributions, n_startup_trials=startup, seed=own)
            built = self.optuna_study(study.for_sampler(), tpe)
        return dict(built.ask(self._distributions).params)

    def optuna_study(self, heard: Iterable[Trials], sampler: BaseSampler | None = None) -> optuna.Study:
        """An in-memory Optuna study with one trial for each configuration, and the sampler to ask.

        Its scores at the rungs are intermediate values (step = epochs). A configuration with a running trial
        is RUNNING, one whose last trial failed PRUNED without a score, which TPE ranks below all others, one
        that is scored at full length COMPLETE, others PRUNED. (No sampler of Optuna's looks at trials that
        are FAIL.)
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        built = optuna.create_study(direction="maximize", study_name=self._space.arch, sampler=sampler)
        built.add_trials([trial for rows in heard if (trial := self._kept(rows))])
        return built

    def _kept(self, rows: Trials) -> FrozenTrial | None:
        number = rows[0].configuration
        if number not in self._trials or self._trials[number][0] is not rows:
            self._trials[number] = rows, self._made(rows)
        return self._trials[number][1]

    def _made(self, rows: Trials) -> FrozenTrial | None:
        # A configuration that is at a longer length just now has its score at this one all the same.
        shown = [row for row in rows if row.epochs <= self._length]
        if not shown:
            return None
        trial = _trial(shown, self._distributions, self._length)
        if trial.state == TrialState.FAIL:
            trial.state, trial.intermediate_values = TrialState.PRUNED, {}
        return trial


def _asked_on_one_thread(built: optuna.Study, distributions: dict[str, BaseDistribution]) -> dict[str, float]:
    # The number of cores would decide in which order sums are added, and a search might go on otherwise on
    # another machine. Beside trials, which take all cores, threads for matrices so small only wait.
    import torch  # noqa: F401  Only threads of what is loaded can be told.

    with threadpool_limits(1):
        return dict(built.ask(distributions).params)


def _halton(space: Space, seed: int, number: int) -> dict[str, float]:
    """Point `number` of a scrambled Halton sequence (Owen, arXiv 1706.02808, as in SciPy)."""
    from scipy.stats import qmc

    sequence = qmc.Halton(len(space.tuned), rng=seed)
    point = sequence.fast_forward(number - 1).random()[0]
    values = {}
    for share, (name, limits) in zip(point, space.tuned.items(), strict=True):
        value = limits.value(float(share))
        value = round(value) if name in space.whole else value
        values[name] = min(max(value, limits.low), limits.high)
    return values


def _scored(heard: Sequence[Trials], length: int) -> list[Trials]:
    """The trials at a length; where a configuration fails they have the lowest score, so that GP knows it."""
    shown = [tuple(row for row in rows if row.epochs <= length) for rows in heard]
    lowest = min((row.score for rows in shown for row in rows if row.score is not None), default=0.0)
    failed = {rows[0].configuration for rows in heard if any(row.state == "failed" for row in rows)}
    lost = {"state": "completed", "score": lowest}
    return [
        tuple(row.model_copy(update=lost) for row in rows) if rows[0].configuration in failed else rows
        for rows in shown
        if rows
    ]


def write_journal(
    path: Path, rows: Mapping[str, Sequence[TrialRow]], spaces: Mapping[str, Space], full_length: int
) -> None:
    """Write the studies as an Optuna journal file, which optuna-dashboard opens.

    Raises:
        ConfigError: the file exists; a journal is only ever appended to, so two searches would mix in it.
    """
    if path.exists():
        raise ConfigError("The journal is written to a new file", found=f"{path} exists")
    storage = JournalStorage(JournalFileBackend(str(path)))
    for arch, space in spaces.items():
        built = optuna.create_study(direction="maximize", study_name=arch, storage=storage)
        trials = Study(rows.get(arch, ())).configurations
        built.add_trials([_trial(of, distributions(space), full_length) for of in trials])


def _trial(rows: Sequence[TrialRow], known: dict[str, BaseDistribution], full_length: int) -> FrozenTrial:
    scores = {row.epochs: row.score for row in rows if row.score is not None}
    if any(row.state == "running" for row in rows):
        state = TrialState.RUNNING
    elif rows[-1].state == "failed":
        state = TrialState.FAIL
    else:
        state = TrialState.COMPLETE if full_length in scores else TrialState.PRUNED
    began, ended = rows[0].started, rows[-1].started + rows[-1].seconds
    return _SharedTrial(
        # Optuna counts them as it hears of them.
        number=-1,
        trial_id=-1,
        state=state,
        value=scores[full_length] if state == TrialState.COMPLETE else None,
        datetime_start=datetime.fromtimestamp(began),
        datetime_complete=datetime.fromtimestamp(ended) if state.is_finished() else None,
        params=dict(rows[0].values),
        distributions=known,
        intermediate_values=scores,
        user_attrs={"configuration": rows[0].configuration, "trials": [row.trial for row in rows]},
        system_attrs={},
    )
