"""Seeds derived from names, so that random numbers do not depend on time, machine or order of execution."""

import hashlib


def derive(*names: str | int) -> int:
    """A seed in [0, 2**63) that depends on the names, their types and their order alone.

    Different sequences give unrelated seeds (SHA-256); `derive(1, 23)` and `derive(12, 3)` differ.

    Args:
        names: without U+001F, which separates them.
    """
    digest = hashlib.sha256("\x1f".join(f"{type(name).__name__}:{name}" for name in names).encode())
    return int.from_bytes(digest.digest()[:8], "big") >> 1
