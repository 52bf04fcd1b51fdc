"""What a command should not leave behind: processes, temporary files."""

import contextlib
import time
from pathlib import Path


def left_behind(environment: dict[str, str]) -> list[str]:
    """What commands have left: processes, which may take a moment to end, and temporary files."""
    mark = f"TMPDIR={environment['TMPDIR']}".encode()

    def processes() -> list[str]:
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append((entry / "cmdline").read_text().replace("\0", " ") or "a process that ends")
        return found

    end = time.monotonic() + 20
    while processes() and time.monotonic() < end:
        time.sleep(0.05)
    # torch keeps a cache there.
    files = [
        path for path in Path(environment["TMPDIR"]).iterdir() if not path.name.startswith("torchinductor")
    ]
    return processes() + [str(path) for path in files]
