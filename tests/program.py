"""How tests start the program."""

import sys

PROGRAM = [sys.executable, "-c", "from tune_brain.cli import main; main()"]
