"""How many slots one driver can feed: 5,000 trials that sleep, on 200 logical slots of this machine.

    python tests/benchmarks/scale.py [--quick]

A slot's wait is the time from the end of a worker's trial to the start of its next one. Trials sleep for tens
of seconds, so the driver has to dispatch several per second. Its dispatch rate once all workers are up gives
the number of slots that it could feed with trials of ten minutes. Its memory is sampled throughout.
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


class DriverMemory:
    """Samples the driver's resident memory, in MB, every two seconds until stopped."""

    def __init__(self) -> None:
        self.samples: list[float] = []
        self._stopped = threading.Event()
        threading.Thread(target=self._sample, daemon=True).start()

    def stop(self) -> None:
        """Stop sampling."""
        self._stopped.set()

    def _sample(self) -> None:
        while not self._stopped.wait(2):
            lines = Path("/proc/self/status").read_text().splitlines()
            self.samples.append(
                next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))
            )


def main() -> None:
    options = measure.parser(__doc__)
    options.add_argument("--slots", type=int, default=200, help="each is a process of about 120 MB")
    args = options.parse_args()
    slots, trials, seconds = (20, 200, 0.5) if args.quick else (args.slots, 5000, 4.0)
    ray.cloudpickle.register_pickle_by_value(sleepers)
    # Ray would kill workers when they nearly fill this machine; those of a real search are on many machines.
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
        memory, started = DriverMemory(), time.perf_counter()
        sleepers.search(config, Slots(count=0, gpus=0).now(), seconds)
        elapsed = time.perf_counter() - started
        memory.stop()
        slept = sleepers.slept(config.out)
    all_up = max(trial.begun for trial in slept if not trial.waited)
    waits = sorted(trial.waited for trial in slept if trial.waited and trial.begun > all_up)
    starts = [trial.begun for trial in slept if trial.begun > all_up]
    rate = len(starts) / (max(starts) - all_up)
    tenth = max(1, len(memory.samples) // 10)
    result = {
        "slots": slots,
        "trials": len(slept),
        "seconds": elapsed,
        "seconds until all workers were up": all_up - min(trial.begun for trial in slept),
        "busy": sleepers.busy([trial for trial in slept if trial.begun > all_up], slots),
        "wait of a slot: s": {
            "median": statistics.median(waits),
            "95 %": waits[int(0.95 * len(waits))],
            "most": waits[-1],
            "n": len(waits),
        },
        "trials a second": rate,
        "slots fed with trials of ten minutes": int(rate * TEN_MINUTES),
        "driver: MB": {
            "second tenth": statistics.median(memory.samples[tenth : 2 * tenth]),
            "last tenth": statistics.median(memory.samples[-tenth:]),
        },
    }
    measure.report("scale", result, quick=args.quick)


if __name__ == "__main__":
    main()
