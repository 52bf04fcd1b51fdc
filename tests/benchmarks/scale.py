"""How many slots one driver feeds: 5,000 trials that sleep, on 200 logical slots of this machine.

    python tests/benchmarks/scale.py [--quick]

A slot's wait is the time between the end of a worker's trial and the begin of its next. Trials sleep for tens
of seconds, so that the driver is asked for several a second. How many it hands out a second when all workers
are up says how many slots it would feed with trials of ten minutes. Its memory is taken all along.
"""

import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import measure
import ray

sys.path.append(str(Path(__file__).parents[1] / "cluster"))
import sleepers

from tune_brain.config import ARCHITECTURES, RunConfig
from tune_brain.slots import Slots

TEN_MINUTES = 600.0


class VersionedCache:
    """The driver's resident memory in MB, every two seconds until stopped."""

    def __init__(self) -> None:
        self.seen: list[float] = []
        self._over = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def stop(self) -> None:
        self._over.set()

    def _look(self) -> None:
        while not self._over.wait(2):
            lines = Path("/proc/self/status").read_text().splitlines()
            self.seen.append(next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")))


def main() -> None:
    options = measure.parser(__doc__)
    options.add_argument("--slots", type=int, default=200, help="each is a process of some 120 MB")
    asked = options.parse_args()
    slots, trials, seconds = (20, 200, 0.5) if asked.quick else (asked.slots, 5000, 4.0)
    ray.cloudpickle.register_pickle_by_value(sleepers)
    # Ray would end workers where their sum comes near the machine's memory; those of a search stand on many.
    os.environ["RAY_memory_monitor_refresh_ms"] = "0"  # noqa: SIM112
    with tempfile.TemporaryDirectory(prefix="tb-") as folder:
        ray.init(num_cpus=slots, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        config = RunConfig(
            out=Path(folder) / "run",
            address=ray.get_runtime_context().gcs_address,
            configs=int(trials / len(ARCHITECTURES) / 1.45),
            final_round=(0, 0),
            image_size=16,
        )
        memory, started = VersionedCache(), time.perf_counter()
        sleepers.search(config, Slots(count=0, cpus=1, gpus=0).now(), seconds)
        took = time.perf_counter() - started
        memory.stop()
        slept = sleepers.slept(config.out)
    up = max(trial.begun for trial in slept if not trial.waited)
    waits = sorted(trial.waited for trial in slept if trial.waited and trial.begun > up)
    ends = [trial.begun for trial in slept if trial.begun > up]
    rate = len(ends) / (max(ends) - up)
    tenth = max(1, len(memory.seen) // 10)
    result = {
        "slots": slots,
        "trials": len(slept),
        "seconds": took,
        "seconds until all workers were up": up - min(trial.begun for trial in slept),
        "busy": sleepers.busy([trial for trial in slept if trial.begun > up], slots),
        "wait of a slot: s": {
            "median": statistics.median(waits),
            "95 %": waits[int(0.95 * len(waits))],
            "most": waits[-1],
            "n": len(waits),
        },
        "trials a second": rate,
        "slots fed with trials of ten minutes": int(rate * TEN_MINUTES),
        "driver: MB": {
            "second tenth": statistics.median(memory.seen[tenth : 2 * tenth]),
            "last tenth": statistics.median(memory.seen[-tenth:]),
        },
    }
    measure.tell("scale", result, quick=asked.quick)


if __name__ == "__main__":
    main()
