"""The command by which tests start tune-brain."""

import sys

PROGRAM = [sys.executable, "-c", "from tune_brain.cli import main; main()"]
