#!/usr/bin/env bash
# Everything that must hold before a change lands: lint, format, types, all tests, no gross loss of speed. Stops at the
# first that fails.
#
#   tests/run.sh [PYTEST OPTIONS]        from any directory; paths among the options are relative to the project's folder
set -euo pipefail
# shellcheck source=launch/environment.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../launch/environment.sh"

step() {
    printf '\n== %s\n' "$*"
    "$@"
}

environment dev
cd -- "$root"
step ruff check
step ruff format --check
step mypy
step pytest "$@"
step python tests/benchmarks/regression.py
