"""Whatever the vectors, cells and blocks, the index misses no pair above the threshold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_brain.data import cells
from tune_brain.data.cells import Cells


def vectors(random: np.random.Generator, n: int, d: int, spread: float) -> np.ndarray:
    """Unit vectors [n, d] scattered around four centres, some of them of length 0."""
    if not n:
        return np.zeros((0, d), np.float32)
    points = random.normal(size=(4, d))[random.integers(0, 4, n)] + spread * random.normal(size=(n, d))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points[random.random(n) < 0.05] = 0
    return points.astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(0, 300),
    n_queries=st.integers(0, 30),
    d=st.integers(2, 12),
    spread=st.floats(0.01, 3),
    threshold=st.floats(0.05, 0.999),
)
def test_no_pair_above_the_threshold_is_missed(
    seed: int, n: int, n_queries: int, d: int, spread: float, threshold: float
) -> None:
    random = np.random.default_rng(seed)
    every = vectors(random, n + n_queries, d, spread)
    indexed, queries = every[:n], every[n:]
    full = queries @ indexed.T
    batches = list(Cells(indexed).near(queries, threshold))
    pairs = [
        (i, j) for rows, places, _ in batches for i, j in zip(rows.tolist(), places.tolist(), strict=True)
    ]
    assert len(pairs) == len(set(pairs))
    expected = np.nonzero(full >= np.float32(threshold))
    assert set(zip(*(ends.tolist() for ends in expected), strict=True)) <= set(pairs)
    for rows, places, products in batches:
        np.testing.assert_allclose(products, full[rows, places], atol=1e-5)
        assert (products >= threshold - 2 * cells.ROUNDING).all()


def test_few_cells_are_searched_and_pairs_come_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    centres = vectors(random, 40, 30, 1)
    points = centres[random.integers(0, 40, 2000)] + 0.01 * random.normal(size=(2000, 30)).astype(np.float32)
    points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 0.5)
    index = Cells(points)
    assert index._reached(points, 0.1).mean() < 0.1
    monkeypatch.setattr(cells, "BATCH", 1000)
    batches = [len(rows) for rows, _, _ in index.near(points, 0.995)]
    assert len(batches) > 10
    assert max(batches) < 1000 + cells.ROWS * 100
