#!/usr/bin/env bash
# One machine, from nothing: makes the environment where it is missing, then `tune-brain run` with the options given.
#
#   launch/workstation.sh                                         everything on the built-in demo images
#   launch/workstation.sh --data DIR --configs 24 --image-size 64
#   PYTHON=python3.13 launch/workstation.sh                       with another interpreter
set -euo pipefail
# shellcheck source=launch/environment.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/environment.sh"

environment serve
exec tune-brain run "$@"
