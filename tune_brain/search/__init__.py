"""From rows to the next trial: the only room that imports ray.tune and optuna."""
