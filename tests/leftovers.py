"""Find what a command should not leave behind: processes and temporary files."""

import contextlib
import time
from pathlib import Path


def left_behind(environment: dict[str, str]) -> list[str]:
    """The processes and temporary files that commands have left; processes have 20 seconds to end.

    Args:
        environment: the environment of the commands, whose TMPDIR only they use.
    """
    mark = f"TMPDIR={environment['TMPDIR']}".encode()

    def processes() -> list[str]:
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(
                        (entry / "cmdline").read_text().replace("\0", " ") or "a process that is ending"
                    )
        return found

    deadline = time.monotonic() + 20
    while processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    # torchinductor* is a cache of torch.
    files = [
        path for path in Path(environment["TMPDIR"]).iterdir() if not path.name.startswith("torchinductor")
    ]
    return processes() + [str(path) for path in files]
