"""Peers: other search strategies, replayed on a surrogate of the scores after each epoch of a long cycle.

They use the schedulers of Ray and Optuna as a plain script does, and stop trials in the middle of their
one-cycle. The winner is the configuration with the best last score, among those that reached the end once
there are any. This favours the peers: plain scripts take the best score of any epoch. They stop trials from
the third epoch on, as the plain script and Optuna's examples do, or from the first, where the learning rate
is still low. Some train the untuned baseline first, as this product does.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
import optuna
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from tune_brain.search.replay import HANDOVER, START
from tune_brain.search.sampler import distributions
from tune_brain.search.surrogate import Surrogate
from tune_brain.seeds import derive
from tune_brain.space import Space

EPOCHS = 12
ONE_EPOCH = "one epoch, then the best 8 at full length"
FIRST_EPOCH = "the first epoch of 12, then the best 8 at full length"
BEST = 8


class OneCycle(Surrogate):
    """A surrogate whose lengths are the epochs of one trial, all of which share the noise of its seed."""

    def _luck(self, values: Mapping[str, float], length: int, repeat: int, seed: int) -> np.random.Generator:  # noqa: ARG002
        return np.random.default_rng(derive(seed, "noise", repeat, *map(str, values.values())))


class Peer(Protocol):
    """A search strategy: which values to train, and whether to continue after an epoch."""

    def ask(self, number: int) -> Mapping[str, float]:
        """Values for trial `number`."""

    def goes_on(self, number: int, epoch: int, score: float) -> bool:
        """Take an epoch's score; returns whether the trial continues."""


class AshaTpe:
    """ASHA and TPE as in the plain script: OptunaSearch takes a stopped trial's last score as its final one.

    Args:
        space: the space to search.
        seed: of TPE.
        first: first epoch after which a trial may be stopped: 3 in the plain script, 1 by Ray's default.
        baseline: whether the untuned baseline is the first trial.
    """

    def __init__(self, space: Space, seed: int, first: int = 3, *, baseline: bool = False) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        if baseline:
            self._study.enqueue_trial(space.baseline)
        self._space, self._asked = distributions(space), {}
        self._asha = ASHAScheduler(metric="score", mode="max", max_t=EPOCHS, grace_period=first)

    def ask(self, number: int) -> Mapping[str, float]:
        """Values that TPE suggests."""
        self._asked[number] = self._study.ask(self._space)
        self._asha.on_trial_add(None, SimpleNamespace(trial_id=number))
        return self._asked[number].params

    def goes_on(self, number: int, epoch: int, score: float) -> bool:
        """Whether ASHA continues the trial; the study is told its last score when it ends."""
        result = {"training_iteration": epoch, "score": score}
        decision = self._asha.on_trial_result(None, SimpleNamespace(trial_id=number), result)
        goes_on = epoch < EPOCHS and decision == TrialScheduler.CONTINUE
        if not goes_on:
            self._study.tell(self._asked[number], score)
        return goes_on


class Pruned:
    """Optuna's own loop with TPE and one of its pruners, optionally with the untuned baseline first."""

    def __init__(
        self, space: Space, seed: int, pruner: optuna.pruners.BasePruner, *, baseline: bool = False
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = optuna.samplers.TPESampler(seed=seed)
        self._study = optuna.create_study(
            direction="maximize", sampler=sampler, pruner=pruner, study_name=f"replay {seed}"
        )
        if baseline:
            self._study.enqueue_trial(space.baseline)
        self._space, self._asked = distributions(space), {}

    def ask(self, number: int) -> Mapping[str, float]:
        """Values that TPE suggests."""
        self._asked[number] = self._study.ask(self._space)
        return self._asked[number].params

    def goes_on(self, number: int, epoch: int, score: float) -> bool:
        """Whether the pruner continues the trial; the study is told when it ends."""
        trial = self._asked[number]
        trial.report(score, epoch)
        if epoch == EPOCHS:
            self._study.tell(trial, score)
        elif trial.should_prune():
            self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return False
        return epoch < EPOCHS


def _median(space: Space, seed: int, first: int, *, baseline: bool = False) -> Pruned:
    pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=first)
    return Pruned(space, seed, pruner, baseline=baseline)


AND_BASELINE = ", the baseline first"
PEERS: dict[str, Callable[[Space, int], Peer]] = {
    "ASHA and TPE as the plain script has them": AshaTpe,
    "ASHA from the first epoch and TPE": lambda space, seed: AshaTpe(space, seed, 1),
    f"ASHA from the first epoch and TPE{AND_BASELINE}": lambda space, seed: AshaTpe(
        space, seed, 1, baseline=True
    ),
    "Hyperband and TPE (Optuna)": lambda space, seed: Pruned(
        space, seed, optuna.pruners.HyperbandPruner(min_resource=1, max_resource=EPOCHS, reduction_factor=3)
    ),
    "median stopping and TPE (Optuna)": lambda space, seed: _median(space, seed, 3),
    "median stopping from the first epoch and TPE (Optuna)": lambda space, seed: _median(space, seed, 0),
    f"median stopping from the first epoch and TPE (Optuna){AND_BASELINE}": lambda space, seed: _median(
        space, seed, 0, baseline=True
    ),
}


Ended = tuple[float, Mapping[str, float], float, int, bool]
"""Time in seconds, values of the trial, its score, epochs just trained, and whether it reached the end."""


def simulate(surrogate: Surrogate, peer: Peer, trials: int, slots: int, seed: int) -> Iterator[Ended]:
    """Simulate a peer's search, epoch by epoch.

    Args:
        surrogate: has the epochs of one long cycle as its lengths.
        peer: the search strategy.
        trials: number of trials.
        slots: trials at a time.
        seed: of the noise.
    """
    pace, started = surrogate.outcomes.seconds, 0
    running: list[tuple[float, int, int]] = []
    values: dict[int, Mapping[str, float]] = {}
    now = START
    while True:
        while started < trials and len(running) < slots:
            values[started] = dict(peer.ask(started))
            heapq.heappush(running, (now + HANDOVER + pace, started, 1))
            started += 1
        if not running:
            return
        now, number, epoch = heapq.heappop(running)
        score = surrogate.score(values[number], epoch, 0, seed)
        yield now, values[number], score, 1, epoch == EPOCHS
        if peer.goes_on(number, epoch, score):
            heapq.heappush(running, (now + pace, number, epoch + 1))


def one_epoch(surrogate: Surrogate, trials: int, slots: int, seed: int) -> Iterator[Ended]:
    """Train random configurations for one epoch each, then the best `BEST` from scratch at full length.

    Whether that epoch is a complete cycle or the first of a long one depends on the surrogate.

    Args:
        surrogate: knows one epoch and the full length.
        trials: number of configurations.
        slots: trials at a time.
        seed: of the sampler and of the noise.
    """
    space, outcomes = distributions(surrogate.outcomes.space), surrogate.outcomes
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=seed))
    chosen = [dict(study.ask(space).params) for _ in range(trials)]
    now = START
    for length in (1, outcomes.full_length):
        free, ended = [now] * slots, list[Ended]()
        for values in chosen:
            end = heapq.heappop(free) + HANDOVER + length * outcomes.seconds
            heapq.heappush(free, end)
            score = surrogate.score(values, length, 0, seed)
            ended.append((end, values, score, length, length == outcomes.full_length))
        yield from sorted(ended, key=lambda trial: trial[0])
        now = max(free)
        chosen = [dict(trial[1]) for trial in sorted(ended, key=lambda trial: -trial[2])[:BEST]]


def repeat(table: Surrogate, cut: Surrogate, name: str, trials: int, slots: int, seed: int) -> dict[str, Any]:
    """One replay of a peer, with the fields of `replay_once` of `tune-brain replay`.

    Args:
        table: surrogate of complete cycles or of first epochs; it gives the true scores.
        cut: surrogate of the epochs of one long cycle.
        name: `ONE_EPOCH`, `FIRST_EPOCH` or a key of `PEERS`.
        trials: number of trials.
        slots: trials at a time.
        seed: of the replay.
    """
    space = table.outcomes.space
    searched = (
        one_epoch(table, trials, slots, seed)
        if name in (ONE_EPOCH, FIRST_EPOCH)
        else simulate(cut, PEERS[name](space, seed), trials + name.endswith(AND_BASELINE), slots, seed)
    )
    last: dict[tuple[float, ...], tuple[bool, float]] = {}
    chosen, seconds, epochs, true = None, [], [], []
    spent, now = 0, 0.0
    for now, values, score, count, whole in searched:
        spent += count
        last[tuple(values.values())] = whole, score
        best = max(last, key=lambda values_of_one: last[values_of_one])
        if best != chosen:
            chosen = best
            seconds.append(round(now, 1))
            epochs.append(spent)
            true.append(table.true(dict(zip(values, best, strict=True)), seed))
    return {
        "seconds": [*seconds, round(now, 1)],
        "epochs": [*epochs, spent],
        "true": [*true, true[-1]],
        "chosen": last[chosen][1],
        "realised": true[-1],
        "baseline": table.true(space.baseline, seed),
    }
