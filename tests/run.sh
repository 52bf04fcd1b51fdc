#!/usr/bin/env bash
# All checks that a change must pass: lint, format, types, tests and a check of speed. Stops at the first failure.
#
#   tests/run.sh [PYTEST OPTIONS]        from any directory; paths in the options are relative to the project's folder
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
