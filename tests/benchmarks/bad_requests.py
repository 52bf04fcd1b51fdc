"""Ten thousand bad requests: no crash, no 500, no memory without bound.

    python tests/benchmarks/bad_requests.py [--quick] [--requests 10000] [--seed 0]

Sent to `tune-brain serve` in a process of its own: images with bytes changed, cut, glued together; bombs;
0 x 0; 16 bits; CMYK; animated; DICOM and NIfTI with a damaged header; wrong types; heads of 100 kB; bodies of
200 MB with and without a length; and half of them made from the OpenAPI description by schemathesis. Counts
by kind and status.
"""

import http.client
import io
import json
import random
import socket
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import measure
import nibabel
import numpy as np
import pydicom
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from PIL import Image
from pydicom.data import get_testdata_files
from service import Service, running

BOUND = 1500
"""Megabytes that the service may hold."""


def png(width: int, height: int, depth: int = 8) -> bytes:
    """A PNG that claims a size, with pixels for little of it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 10_000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """An image as a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def kinds(images: Path, chance: random.Random) -> dict[str, Callable[[], tuple[bytes, dict[str, str]]]]:
    """By name, what makes one body with its headers."""
    good = [path.read_bytes() for path in sorted(images.rglob("*.*"))]
    scans = [Path(name).read_bytes() for name in get_testdata_files("MR_small*.dcm")]
    scans.append(nibabel.Nifti1Image(np.ones((9, 9, 3), np.int16), np.eye(4)).to_bytes())
    grey = Image.effect_noise((96, 96), 60)
    odd = [
        png(0, 0), png(100_000, 100_000), png(6000, 6000, 16), png(2**31 - 1, 1),
        saved(grey.convert("CMYK"), "JPEG"), saved(grey, "GIF", save_all=True, append_images=[grey] * 5),
        saved(grey, "PNG", save_all=True, append_images=[grey] * 5), saved(grey.convert("I;16"), "TIFF"),
        b"", b"\xff\xd8\xff", b"II*\0" + b"\xff" * 100, b"\x1f\x8b" + b"\0" * 50,
        b"%PDF-1.7\n" + good[0], good[0] + b"PK\3\4" + good[1], b"<svg onload=alert(1)>" + good[0],
        zlib.compress(b"\0" * 400_000_000, wbits=31),
    ]  # fmt: skip

    types = ("text/html", "application/json", "", "image/" + "x" * 500, "a/b;c=\xe9")
    hosts = ("evil.example", "[::", "127.0.0.1@x", "")

    def changed() -> tuple[bytes, dict[str, str]]:
        content = bytearray(chance.choice(good + scans))
        for _ in range(chance.randrange(1, 30)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        return bytes(content), {}

    def damaged_head() -> tuple[bytes, dict[str, str]]:
        content = bytearray(chance.choice(good + scans))
        for _ in range(chance.randrange(1, 8)):
            content[chance.randrange(min(len(content), 600))] = chance.choice((0, 1, 127, 128, 255))
        return bytes(content), {}

    def cut() -> tuple[bytes, dict[str, str]]:
        content = chance.choice(good + scans)
        return content[: chance.randrange(len(content))], {}

    def noise() -> tuple[bytes, dict[str, str]]:
        start = chance.choice((b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"\0" * 128 + b"DICM"))
        return start + chance.randbytes(chance.randrange(2000)), {}

    return {
        "bytes changed": changed,
        "head damaged": damaged_head,
        "cut": cut,
        "noise": noise,
        "odd": lambda: (chance.choice(odd), {}),
        "wrong type": lambda: (chance.choice(good), {"Content-Type": chance.choice(types)}),
        "head of 100 kB": lambda: (b"", {f"X-{n}": "y" * 1000 for n in range(100)}),
        "wrong host": lambda: (chance.choice(good), {"Host": chance.choice(hosts)}),
    }


def ask(service: Service, content: bytes, headers: dict[str, str]) -> int:
    """The status of one request; 0 where the connection was closed instead."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    try:
        whole = {"Content-Type": "application/octet-stream", **headers}
        connection.request("POST", "/predict", content, whole)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (ConnectionError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def huge(service: Service, *, length: bool) -> int:
    """Send 200 MB, with its length or in chunks, until somebody says stop."""
    head = "Content-Length: 200000000" if length else "Transfer-Encoding: chunked"
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as line:
        line.sendall(
            f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n{head}\r\n\r\n".encode()
        )
        part = b"x" * 2**20
        try:
            for _ in range(200):
                line.sendall(part if length else b"%x\r\n%s\r\n" % (len(part), part))
        except OSError:
            pass
        try:
            said = line.recv(100)
        except OSError:
            return 0
    return int(said.split()[1]) if said.startswith(b"HTTP/1.1 ") else 0


def described(service: Service, requests: int, number: int) -> Counter[int]:
    """Statuses of requests made from the OpenAPI description; nearly all of them to /predict."""
    base = f"http://127.0.0.1:{service.port}"
    schema = schemathesis.openapi.from_url(f"{base}/openapi.json")
    found: Counter[int] = Counter()
    for result in schema.get_all_operations():
        operation = result.ok()

        @seed(number)
        @settings(
            deadline=None,
            max_examples=requests if operation.method == "post" else 10,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        @given(case=operation.as_strategy())
        def one(case: schemathesis.Case) -> None:
            found[case.call(base_url=base, timeout=60).status_code] += 1

        one()
    return found


def main() -> None:
    """Ask, and tell."""
    options = measure.parser(__doc__)
    options.add_argument("--requests", type=int, default=10_000)
    options.add_argument("--seed", type=int, default=0)
    asked = options.parse_args()
    total = 500 if asked.quick else asked.requests
    chance = random.Random(asked.seed)
    warnings.simplefilter("ignore")
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    counts: dict[str, Counter[int]] = {}
    with running("cnn", 48) as service:
        before = service.memory()
        made = kinds(service.images, chance)
        for number in range(total // 2):
            name = list(made)[number % len(made)]
            counts.setdefault(name, Counter())[ask(service, *made[name]())] += 1
        for length in (True, False):
            kind = "200 MB, " + ("with its length" if length else "in chunks")
            counts[kind] = Counter(huge(service, length=length) for _ in range(5))
        counts["from the description"] = described(service, total // 2, asked.seed)
        good = next(service.images.rglob("*.jpg")).read_bytes()
        alive = ask(service, good, {"Content-Type": "image/jpeg"})
        peak = service.peak()
    faults = sum(n for by in counts.values() for status, n in by.items() if status >= 500)
    result = {
        "requests": sum(by.total() for by in counts.values()),
        "faults_5xx": faults,
        "status_by_kind": {
            kind: {str(status): n for status, n in sorted(by.items())} for kind, by in counts.items()
        },
        "memory_mb": {"before": round(before), "peak": round(peak), "bound": BOUND},
        "alive_after": alive == 200,
    }
    measure.tell("requests", result, quick=asked.quick)
    if faults or alive != 200 or peak > BOUND:
        raise SystemExit(json.dumps({"faults": faults, "alive": alive, "peak": peak}))


if __name__ == "__main__":
    main()
