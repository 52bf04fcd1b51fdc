# shellcheck shell=bash
# Sourced by workstation.sh and tests/run.sh, so that both create and use the same environment.
#
#   environment EXTRA    ("" for none) creates or updates .venv in the project's folder, then puts its bin first on PATH
#
# PYTHON names the interpreter; without it, an existing .venv keeps its own, and a new one gets python3.
# .venv/stamp records what was installed.

root=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")
venv=$root/.venv

say() { printf '%s\n' "$*" >&2; }

check_interpreter() {
    if ! command -v "$python" >/dev/null; then
        say "tune_brain needs Python 3.11 or newer; found: no command $python."
        say "Install Python, or name the interpreter: PYTHON=/path/to/python3 $0"
        return 1
    fi
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        say "tune_brain needs Python 3.11 or newer; found: $python is $("$python" -V 2>&1 | head -n 1)."
        say "Name a newer interpreter: PYTHON=/path/to/python3 $0"
        return 1
    fi
    # Debian's python3 lacks ensurepip, which venv needs.
    if ! "$python" -I -c 'import ensurepip, venv' 2>/dev/null; then
        say "tune_brain needs Python with its venv module; found: $python has none."
        say "Install it (Debian, Ubuntu: apt install python3-venv), or name another interpreter: PYTHON=/path/to/python3 $0"
        return 1
    fi
}

# The interpreter that .venv was created with; nothing if it is missing, broken or too old.
own_interpreter() {
    "$venv/bin/python" -I -c '
import sys
if sys.version_info >= (3, 11) and sys.prefix != sys.base_prefix:
    print(sys._base_executable)' 2>/dev/null || true
}

version() { "$1" -I -c 'import sys; print(sys.version)' 2>/dev/null; }

# Includes the folder, because a .venv that was moved still points to its old place.
fingerprint() {
    "$python" -I -c '
import hashlib, pathlib, sys
root = pathlib.Path(sys.argv[1])
files = [(root / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
print(hashlib.sha256(repr([sys.version, str(root), *files]).encode()).hexdigest())' "$root"
}

stamp() { cat "$venv/stamp" 2>/dev/null || true; }

# The extra `dev` includes the others.
installed() { [[ $(stamp) == "$wanted"*"$extra" || $(stamp) == "$wanted dev" ]] && "$venv/bin/python" -I -c 'import tune_brain' 2>/dev/null; }

reusable() {
    [[ $(stamp) != unfinished && -n $(own_interpreter) && $(version "$venv/bin/python") == "$(version "$python")" ]] &&
        grep -qsF "$venv/bin/" "$venv/bin/pip" && "$venv/bin/python" -I -m pip --version >/dev/null 2>&1
}

install() {
    local before quiet=--quiet
    if ! reusable; then
        say "Creating $venv with $("$python" -V)"
        rm -rf "$venv"
        mkdir "$venv"
        echo unfinished >"$venv/stamp"
        "$python" -I -m venv "$venv"
    fi
    before=$(stamp)
    echo unfinished >"$venv/stamp"
    # On Ctrl-C, pip exits with an ordinary failure, which must not be taken for one that left the environment intact.
    trap 'exit 130' INT TERM HUP
    say "Installing tune_brain${extra:+ with its $extra tools} (the first time takes minutes and about 7 GB)"
    if [[ -t 2 ]]; then quiet=; fi
    "$venv/bin/python" -I -m pip install --disable-pip-version-check $quiet \
        --constraint "$root/constraints.txt" --editable "$root${extra:+[$extra]}" >&2 || {
        local status=$?
        echo "$before" >"$venv/stamp"
        return "$status"
    }
    echo "$wanted $extra" >"$venv/stamp"
}

environment() {
    local python=${PYTHON:-$(own_interpreter)} extra=$1 wanted
    python=${python:-python3}
    check_interpreter
    wanted=$(fingerprint)
    if ! installed; then
        # A subshell holds the lock and releases it before anything else starts. The file only serves as a lock.
        (
            if command -v flock >/dev/null && ! flock --nonblock 9; then
                say "Waiting for another process to finish installing"
                flock 9
            fi
            if ! installed; then install; fi
        ) 9>>"$root/constraints.txt"
    fi
    export PATH=$venv/bin:$PATH
}
