"""`tune-brain`: each command parses its options and calls one stage.

Stages are imported inside the commands, so that `--help` and a mistyped option do not wait for torch, and
torch not for Ray. A file of this room holds the commands of one subject; importing it adds them.
"""

from tune_brain.cli import search, results, replay, serve, data  # noqa: F401, I001 - the order of the help
from tune_brain.cli.program import app, main

__all__ = ["app", "main"]
