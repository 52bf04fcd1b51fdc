"""The samplers: from a study's rows to the values of its next configuration, through Optuna.

Each suggestion builds a small in-memory Optuna study from the rows, so that the rows stay the only state: a
crash leaves nothing running, nothing is suggested twice, and equal rows give equal suggestions.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from threadpoolctl import threadpool_limits

from tune_brain.config import Sampler
from tune_brain.errors import ConfigError
from tune_brain.files import replacing
from tune_brain.records import TrialRow
from tune_brain.search.study import Study, Trials, is_tried_again
from tune_brain.seeds import derive
from tune_brain.space import Space

STARTUP = 10
"""Configurations that are sampled at random before TPE or GP takes over (Optuna's default)."""


class _Shown(InMemoryStorage):
    """A storage that shows given trials to a sampler, beside the one that is asked for.

    Adding each of them to a study, which copies it, took half of the time of a suggestion.
    """

    def __init__(self, trials: Sequence[FrozenTrial]) -> None:
        super().__init__()
        self._shown = trials
        # Samplers tell trials apart, and sort them, by number. The one that is asked for has number 0.
        for number, trial in enumerate(trials, start=1):
            trial.number = number

    def get_all_trials(
        self,
        study_id: int,  # noqa: ARG002
        deepcopy: bool = True,  # noqa: ARG002
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """The given trials in some states, or all of them; never copied."""
        return [trial for trial in self._shown if states is None or trial.state in states]


class _Tpe(optuna.samplers.TPESampler):
    """TPE that is given its search space; Optuna's own intersects those of all trials at each suggestion."""

    def __init__(self, space: dict[str, BaseDistribution], **options: Any) -> None:
        super().__init__(multivariate=True, constant_liar=True, **options)
        self._space = dict(sorted(space.items()))

    def infer_relative_search_space(
        self,
        study: optuna.Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """The given space."""
        return self._space


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

    Between suggestions it keeps Optuna's trial of each configuration until one of its rows changes, to save
    time only (for `gp` they are built anew).
    """

    def __init__(self, space: Space, ladder: Sequence[int], *, seed: int, sampler: Sampler = "tpe") -> None:
        """Start without trials.

        Args:
            space: the tuned hyperparameters.
            ladder: the rungs, in epochs, rising.
            seed: of the search.
            sampler: `random`: uniform. `halton`: a scrambled Halton sequence, which covers the space evenly.
                `tpe`, `halton-tpe`: Optuna's multivariate TPE with constant liar after `STARTUP` random or
                Halton points. `gp`: Optuna's Gaussian process on the scores at the first rung, the only
                length that all configurations share.
        """
        self._space, self._seed, self._sampler = space, seed, sampler
        self._length = ladder[0 if sampler == "gp" else -1]
        self._distributions = distributions(space)
        self._trials: dict[int, tuple[Trials, FrozenTrial | None]] = {}

    def suggest(self, study: Study, number: int) -> dict[str, float]:
        """Values for configuration `number` (from 1), given the study's rows so far."""
        space, sampler = self._space, self._sampler
        if sampler == "halton" or (sampler == "halton-tpe" and number <= STARTUP):
            return _halton(space, derive(self._seed, space.arch, "halton"), number)
        seed = derive(self._seed, space.arch, "sampler", number) % 2**32
        if sampler == "random":
            built = self.optuna_study((), optuna.samplers.RandomSampler(seed=seed))
        elif sampler == "gp":
            gp = optuna.samplers.GPSampler(n_startup_trials=STARTUP, seed=seed)
            built = self.optuna_study(_scored(study.for_sampler(), self._length), gp)
            return _ask_on_one_thread(built, self._distributions)
        else:
            startup = STARTUP if sampler == "tpe" else 1
            tpe = _Tpe(self._distributions, n_startup_trials=startup, seed=seed)
            built = self.optuna_study(study.for_sampler(), tpe)
        return dict(built.ask(self._distributions).params)

    def optuna_study(self, trials: Iterable[Trials], sampler: BaseSampler | None = None) -> optuna.Study:
        """An in-memory Optuna study with one trial for each configuration, and the sampler to ask.

        Scores at the rungs are intermediate values (step = epochs). A configuration without a score whose
        trial runs is RUNNING; one whose last trial failed is PRUNED without a score, which TPE ranks below
        all others (Optuna's samplers ignore FAIL); one that is scored at full length is COMPLETE, others are
        PRUNED. While a promoted configuration trains, or awaits a retry, its earlier scores stand: as RUNNING
        it would count as one of the worst to TPE's constant liar, though it is one of the best.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        shown = _Shown([trial for rows in trials if (trial := self._cached(rows))])
        return optuna.create_study(
            storage=shown, direction="maximize", study_name=self._space.arch, sampler=sampler
        )

    def _cached(self, rows: Trials) -> FrozenTrial | None:
        number = rows[0].configuration
        if number not in self._trials or self._trials[number][0] is not rows:
            self._trials[number] = rows, self._frozen(rows)
        return self._trials[number][1]

    def _frozen(self, rows: Trials) -> FrozenTrial | None:
        rows = tuple(row for row in rows if row.epochs <= self._length)
        ended = [row for row in rows if row.state != "running" and not is_tried_again(row)]
        if not rows:
            return None
        return _frozen_trial(ended or rows, self._distributions, self._length, failed=TrialState.PRUNED)


def _ask_on_one_thread(built: optuna.Study, distributions: dict[str, BaseDistribution]) -> dict[str, float]:
    # The number of threads decides the order of floating-point sums, so a search could continue differently
    # on another machine. And trials use all cores: more threads for matrices this small only wait.
    import torch  # noqa: F401  threadpool_limits reaches only libraries that are loaded

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


def _scored(trials: Sequence[Trials], length: int) -> list[Trials]:
    """The trials up to a length; a failed configuration gets the lowest score, so that GP learns of it."""
    shown = [tuple(row for row in rows if row.epochs <= length) for rows in trials]
    lowest = min((row.score for rows in shown for row in rows if row.score is not None), default=0.0)
    failed = {
        rows[0].configuration
        for rows in trials
        if any(row.state == "failed" and not is_tried_again(row) for row in rows)
    }
    worst = {"state": "completed", "score": lowest}
    return [
        tuple(row.model_copy(update=worst) for row in rows) if rows[0].configuration in failed else rows
        for rows in shown
        if rows
    ]


def write_journal(
    path: Path,
    rows: Mapping[str, Sequence[TrialRow]],
    spaces: Mapping[str, Space],
    full_length: int,
    winners: Mapping[str, int],
) -> None:
    """Write the studies as an Optuna journal file, which optuna-dashboard opens.

    A trial's value is the score of its first full-length seed, as its sampler learnt it, so Optuna's best
    trial need not be the winner. User attributes name the winner and hold all full-length scores.

    Args:
        path: a new file.
        rows: by architecture, the latest row of each trial.
        spaces: by architecture.
        full_length: the top of the ladder, in epochs.
        winners: by architecture, the winner's configuration.

    Raises:
        ConfigError: the file exists; journals are append-only, so two searches would be mixed.
    """
    if path.exists():
        raise ConfigError("A journal must be a new file", found=f"{path} exists")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with replacing(path) as aside:
        storage = JournalStorage(JournalFileBackend(str(aside)))
        for arch, space in spaces.items():
            built = optuna.create_study(direction="maximize", study_name=arch, storage=storage)
            of_arch = rows.get(arch, ())
            configurations = Study(of_arch).configurations
            trials = [_frozen_trial(of, distributions(space), full_length) for of in configurations]
            for trial in trials:
                number = trial.user_attrs["configuration"]
                full = [row for row in of_arch if (row.configuration, row.epochs) == (number, full_length)]
                trial.user_attrs |= {
                    "winner": number == winners.get(arch),
                    "full-length scores": [row.score for row in full if row.score is not None],
                }
            built.add_trials(trials)


def _frozen_trial(
    rows: Sequence[TrialRow],
    space: dict[str, BaseDistribution],
    full_length: int,
    *,
    failed: TrialState = TrialState.FAIL,
) -> FrozenTrial:
    """The trials of one configuration as one Optuna trial.

    Args:
        rows: of its trials, by number.
        space: of its hyperparameters.
        full_length: in epochs.
        failed: the state if its last trial failed; as PRUNED it keeps no scores, see `optuna_study`.
    """
    scores = {row.epochs: row.score for row in rows if row.score is not None}
    if any(row.state == "running" for row in rows):
        state = TrialState.RUNNING
    elif rows[-1].state == "failed":
        state, scores = failed, scores if failed == TrialState.FAIL else {}
    else:
        state = TrialState.COMPLETE if full_length in scores else TrialState.PRUNED
    began, ended = rows[0].started, rows[-1].started + rows[-1].seconds
    return FrozenTrial(
        # Numbered where they are shown, or by Optuna when they are added.
        number=-1,
        trial_id=-1,
        state=state,
        value=scores[full_length] if state == TrialState.COMPLETE else None,
        datetime_start=datetime.fromtimestamp(began),
        datetime_complete=datetime.fromtimestamp(ended) if state.is_finished() else None,
        params=dict(rows[0].values),
        distributions=space,
        intermediate_values=scores,
        user_attrs={"configuration": rows[0].configuration, "trials": [row.trial for row in rows]},
        system_attrs={},
    )
