"""Hyperparameter importances of a study, computed by Optuna."""

from collections.abc import Sequence

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from tune_brain.records import TrialRow
from tune_brain.search.sampler import distributions
from tune_brain.space import Space

FEWEST = 10
"""With fewer trials there are no importances: PED-ANOVA compares the best tenth with the rest."""


def importances(rows: Sequence[TrialRow], space: Space, epochs: int) -> tuple[dict[str, float], int]:
    """Importances by hyperparameter, which sum to 1, and the number of trials behind them.

    PED-ANOVA (Watanabe et al., IJCAI 2023) over the scored trials of one length; empty if there are fewer
    than `FEWEST` or their scores are all equal.

    Args:
        rows: the latest row of each trial of the study.
        space: of the study.
        epochs: the length of the trials to compare.
    """
    scored = [row for row in rows if row.epochs == epochs and not row.repeat and row.score is not None]
    if len(scored) < FEWEST or len({row.score for row in scored}) == 1:
        return {}, len(scored)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for row in scored:
        study.add_trial(
            optuna.trial.create_trial(
                params=dict(row.values), distributions=distributions(space), value=row.score
            )
        )
    values = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), params=list(space.tuned))
    return dict(values), len(scored)
