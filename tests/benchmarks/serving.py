"""How fast the service answers, what it does with a crowd, and whether it keeps what it was sent.

    python tests/benchmarks/serving.py [--quick] [--arch resnet18] [--size 224] [--seconds 60] [--more 1500]

Three runs against `tune-brain serve` in a process of its own: requests that come at 5 a second whether or not
the last has been answered; 60 at the same moment; and so many one after the other, whose memory is fitted by
a line. Seconds are those of the client, from sending a file to the whole answer.
"""

import http.client
import statistics
import threading
import time
from pathlib import Path

import measure
import numpy as np
from service import Service, running

RATE = 5


def ask(service: Service, content: bytes) -> tuple[int, float]:
    """Status and seconds of one request."""
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    connection.request("POST", "/predict", content, {"Content-Type": "image/jpeg"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, time.perf_counter() - started


def at_a_rate(service: Service, files: list[bytes], seconds: float) -> list[tuple[int, float]]:
    """Requests sent by the clock."""
    found: list[tuple[int, float]] = []
    threads = []
    start = time.perf_counter()
    for number in range(int(seconds * RATE)):
        time.sleep(max(0, start + number / RATE - time.perf_counter()))
        content = files[number % len(files)]
        thread = threading.Thread(target=lambda content=content: found.append(ask(service, content)))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()
    return found


def crowd(service: Service, content: bytes, size: int) -> list[tuple[int, float]]:
    """Requests sent at the same moment."""
    found: list[tuple[int, float]] = []
    gate = threading.Barrier(size)

    def one() -> None:
        gate.wait()
        found.append(ask(service, content))

    threads = [threading.Thread(target=one) for _ in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Milliseconds."""
    values = np.quantile(seconds, [0.5, 0.95, 0.99]) * 1000
    return dict(zip(("p50", "p95", "p99"), values.round(1).tolist(), strict=True))


def main() -> None:
    """Ask, and tell."""
    options = measure.parser(__doc__)
    options.add_argument("--arch", default="resnet18")
    options.add_argument("--size", type=int, default=224)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--more", type=int, default=1500)
    asked = options.parse_args()
    if asked.quick:
        asked.seconds, asked.more = 10, 100
    with running(asked.arch, asked.size) as service:
        files = [path.read_bytes() for path in sorted(Path(service.images).rglob("*.jpg"))]
        for content in files[:5]:
            ask(service, content)
        steady = at_a_rate(service, files, asked.seconds)
        rush = crowd(service, files[0], 60)
        memory = []
        for number in range(asked.more):
            ask(service, files[number % len(files)])
            if number % 10 == 9:
                memory.append(service.memory())
        half = memory[len(memory) // 2 :]
        slope = float(np.polyfit(np.arange(len(half)) * 10, half, 1)[0]) if len(half) > 1 else 0.0
    refused = [seconds for status, seconds in rush if status == 503]
    result = {
        "bundle": f"{asked.arch}, {asked.size} px, fp32, untrained",
        "steady": {
            "requests": len(steady),
            "a_second": RATE,
            "answered": sum(status == 200 for status, _ in steady),
            "milliseconds": quantiles([seconds for _, seconds in steady]),
        },
        "crowd": {
            "requests": len(rush),
            "answered": sum(status == 200 for status, _ in rush),
            "refused_503": len(refused),
            "refused_milliseconds": quantiles(refused) if refused else None,
        },
        "memory": {
            "requests": asked.more,
            "mb_after": [round(memory[0], 1), round(statistics.median(half), 1), round(memory[-1], 1)],
            "kb_a_request_in_the_second_half": round(slope * 1024, 2),
        },
    }
    measure.tell("serving", result, quick=asked.quick)


if __name__ == "__main__":
    main()
