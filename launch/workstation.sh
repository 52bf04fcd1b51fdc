#!/usr/bin/env bash
# Set up one machine from scratch: create the environment if needed, then call `tune-brain run` with the given options.
#
#   launch/workstation.sh                                         everything, on the built-in demo images
#   launch/workstation.sh --data DIR --configs 24 --image-size 64
#   PYTHON=python3.13 launch/workstation.sh                       with another interpreter
set -euo pipefail
# shellcheck source=launch/environment.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/environment.sh"

environment serve
exec tune-brain run "$@"
