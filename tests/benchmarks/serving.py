"""Latency of the service, its behaviour under a burst of requests, and whether it leaks memory.

    python tests/benchmarks/serving.py [--quick] [--arch resnet18] [--size 224] [--seconds 60] [--more 1500]

Three loads on `tune-brain serve` in its own process: requests at 5 per second, sent whether or not the last
one has been answered; 60 at the same moment; and many one after another, whose memory is fitted by a line.
Latency is measured by the client, from sending a file to the end of the answer.
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
"""Requests per second."""


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
    """Status and seconds of requests sent at `RATE` per second."""
    results: list[tuple[int, float]] = []
    threads = []
    start = time.perf_counter()
    for number in range(int(seconds * RATE)):
        time.sleep(max(0, start + number / RATE - time.perf_counter()))
        content = files[number % len(files)]
        thread = threading.Thread(target=lambda content=content: results.append(ask(service, content)))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()
    return results


def crowd(service: Service, content: bytes, size: int) -> list[tuple[int, float]]:
    """Status and seconds of this many requests sent at the same moment."""
    results: list[tuple[int, float]] = []
    gate = threading.Barrier(size)

    def send() -> None:
        gate.wait()
        results.append(ask(service, content))

    threads = [threading.Thread(target=send) for _ in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Percentiles of durations, in milliseconds."""
    values = np.quantile(seconds, [0.5, 0.95, 0.99]) * 1000
    return dict(zip(("p50", "p95", "p99"), values.round(1).tolist(), strict=True))


def main() -> None:
    options = measure.parser(__doc__)
    options.add_argument("--arch", default="resnet18")
    options.add_argument("--size", type=int, default=224)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--more", type=int, default=1500)
    args = options.parse_args()
    if args.quick:
        args.seconds, args.more = 10, 100
    with running(args.arch, args.size) as service:
        files = [path.read_bytes() for path in sorted(Path(service.images).rglob("*.jpg"))]
        for content in files[:5]:
            ask(service, content)
        steady = at_a_rate(service, files, args.seconds)
        rush = crowd(service, files[0], 60)
        memory = []
        for number in range(args.more):
            ask(service, files[number % len(files)])
            if number % 10 == 9:
                memory.append(service.memory())
        half = memory[len(memory) // 2 :]
        slope = float(np.polyfit(np.arange(len(half)) * 10, half, 1)[0]) if len(half) > 1 else 0.0
    refused = [seconds for status, seconds in rush if status == 503]
    result = {
        "bundle": f"{args.arch}, {args.size} px, fp32, untrained",
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
            "requests": args.more,
            "mb_after": [round(memory[0], 1), round(statistics.median(half), 1), round(memory[-1], 1)],
            "kb_a_request_in_the_second_half": round(slope * 1024, 2),
        },
    }
    measure.report("serving", result, quick=args.quick)


if __name__ == "__main__":
    main()
