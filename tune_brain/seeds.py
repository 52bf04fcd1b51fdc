"""Seeds derived from names, so that no random number depends on when, where or after what it is drawn."""

import hashlib


def derive(*names: str | int) -> int:
    """A seed in [0, 2**63) that is a pure function of the names and their order.

    Unequal sequences give unrelated seeds (SHA-256); `derive(1, 23)` and `derive(12, 3)` differ. A name holds
    no U+001F, which stands between names.
    """
    digest = hashlib.sha256("\x1f".join(f"{type(name).__name__}:{name}" for name in names).encode())
    return int.from_bytes(digest.digest()[:8], "big") >> 1
