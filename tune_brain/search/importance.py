"""How much each tuned hyperparameter decides, from a study's rows, through Optuna."""

from collections.abc import Sequence

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from tune_brain.records import TrialRow
from tune_brain.search.sampler import distributions
from tune_brain.space import Space

FEWEST = 10
"""Trials below which nothing is said: PED-ANOVA looks at the best tenth of them."""


def importances(rows: Sequence[TrialRow], space: Space, epochs: int) -> tuple[dict[str, float], int]:
    """Importances by hyperparameter, adding up to 1, and the number of trials that they come from.

    PED-ANOVA (Watanabe et al., IJCAI 2023) over the scored trials of one length; none where these are
    fewer than `FEWEST` or do not differ.

    Args:
        rows: the latest row of each trial of the study.
        space: its space.
        epochs: the length of the trials that are compared.
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
    found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), params=list(space.tuned))
    return dict(found), len(scored)
