import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_brain.data.batches import steps_per_epoch, training_batches


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(deadline=None)
@given(n=st.integers(1, 200), batch_size=st.integers(1, 64))
def test_every_image_occurs_once_per_epoch(n: int, batch_size: int) -> None:
    batches = list(training_batches(n, batch_size, generator()))
    assert torch.cat(batches).dtype == torch.int64
    assert sorted(torch.cat(batches).tolist()) == list(range(n))
    assert len(batches) == steps_per_epoch(n, batch_size)
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert len(batches[-1]) <= batch_size + 1


@settings(deadline=None)
@given(n=st.integers(2, 200), batch_size=st.integers(2, 64))
def test_no_batch_holds_a_single_image(n: int, batch_size: int) -> None:
    assert min(len(batch) for batch in training_batches(n, batch_size, generator())) >= 2


@pytest.mark.parametrize(
    ("n", "batch_size", "steps"), [(64, 32, 2), (65, 32, 2), (66, 32, 3), (1, 32, 1), (3, 1, 3), (33, 32, 1)]
)
def test_number_of_steps_per_epoch(n: int, batch_size: int, steps: int) -> None:
    assert steps_per_epoch(n, batch_size) == steps


def test_order_changes_every_epoch_and_depends_on_the_seed() -> None:
    source, again = generator(), generator()
    epochs = [torch.cat(list(training_batches(50, 8, source))).tolist() for _ in range(2)]
    repeated = [torch.cat(list(training_batches(50, 8, again))).tolist() for _ in range(2)]
    assert epochs == repeated
    assert epochs[0] != epochs[1]
    assert epochs[0] != torch.cat(list(training_batches(50, 8, generator(1)))).tolist()
