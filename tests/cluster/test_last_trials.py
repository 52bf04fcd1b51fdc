"""The last trials of a real search hear from its driver how many CPUs are idle."""

from pathlib import Path

import pytest
import ray
import sleepers

from tune_brain import compute
from tune_brain.records import EpochRow, read, trials_of

pytestmark = pytest.mark.slow


def test_only_the_last_seed_of_a_final_round_gets_the_idle_cpu_and_from_its_next_epoch_on(
    tmp_path: Path,
) -> None:
    ray.cloudpickle.register_pickle_by_value(sleepers)
    # The four trials of a rung fill both slots; of the three after them one is left over.
    config = sleepers.asked(
        tmp_path, configs=3, arch=("linear",), ladder=(4,), final_round=(3, 1), concurrency=2
    )
    with compute.session(config) as session:
        sleepers.search(config, session.slots(), seconds=1.0)
    *others, last = trials_of(tmp_path)
    threads = {(row.trial, row.epoch): row.train_loss for row in read(tmp_path / "epochs.jsonl", EpochRow)}
    assert {threads[row.trial, epoch] for row in others for epoch in range(1, 5)} == {1}
    assert last.repeat == 1
    # The trial beside it may still have been running when it began.
    assert [threads[last.trial, epoch] for epoch in (2, 3, 4)] == [2, 2, 2]
