"""`tune-brain`: each command parses its options and calls one stage.

Stages are imported inside the commands, so that `--help` and a mistyped option need not import torch, and Ray
starts before torch is imported. Each module holds the commands of one subject; importing it registers them.
"""

from tune_brain.cli import search, results, replay, serve, data  # noqa: F401, I001 - the order of the help
from tune_brain.cli.program import app, main

__all__ = ["app", "main"]
