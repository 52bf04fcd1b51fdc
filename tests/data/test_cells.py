"""Whatever the vectors, cells and blocks, no pair that is close enough is missed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_brain.data import cells
from tune_brain.data.cells import Cells


def vectors(random: np.random.Generator, n: int, d: int, spread: float) -> np.ndarray:
    """Some around a few others, some of length 0."""
    if not n:
        return np.zeros((0, d), np.float32)
    made = random.normal(size=(4, d))[random.integers(0, 4, n)] + spread * random.normal(size=(n, d))
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    made[random.random(n) < 0.05] = 0
    return made.astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(0, 300),
    asked=st.integers(0, 30),
    d=st.integers(2, 12),
    spread=st.floats(0.01, 3),
    least=st.floats(0.05, 0.999),
)
def test_no_close_pair_is_missed(seed: int, n: int, asked: int, d: int, spread: float, least: float) -> None:
    random = np.random.default_rng(seed)
    every = vectors(random, n + asked, d, spread)
    known, others = every[:n], every[n:]
    wants = (least * random.uniform(0.5, 1, asked)).astype(np.float32)
    full = others @ known.T
    found = list(Cells(known).near(others, wants))
    pairs = [(i, j) for rows, places, _ in found for i, j in zip(rows.tolist(), places.tolist(), strict=True)]
    assert len(pairs) == len(set(pairs))
    assert set(zip(*(ends.tolist() for ends in np.nonzero(full >= wants[:, None])), strict=True)) <= set(
        pairs
    )
    for rows, places, products in found:
        np.testing.assert_allclose(products, full[rows, places], atol=1e-5)
        assert (products >= wants[rows] - 2 * cells.ROUNDING).all()


def test_few_vectors_are_looked_at_and_few_pairs_held(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    centres = vectors(random, 40, 30, 1)
    known = centres[random.integers(0, 40, 2000)] + 0.01 * random.normal(size=(2000, 30)).astype(np.float32)
    known /= np.maximum(np.linalg.norm(known, axis=1, keepdims=True), 0.5)
    among = Cells(known)
    least = np.full(len(known), 0.995, np.float32)
    assert among._reached(known, np.sqrt(2 - 2 * least)).mean() < 0.1
    monkeypatch.setattr(cells, "HELD", 1000)
    batches = [len(rows) for rows, _, _ in among.near(known, least)]
    assert len(batches) > 10
    assert max(batches) < 1000 + cells.ROWS * 100
