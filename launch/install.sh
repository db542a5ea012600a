#!/usr/bin/env bash
# Sourced by the other scripts: `install_gcnsys [EXTRAS]` makes .venv, or reuses it, and puts it on PATH;
# `find_gcnsys` does so where PATH has none: an environment of one's own, of a GPU machine say, is taken as it is.

find_gcnsys() {
    command -v gcnsys > /dev/null && command -v torchrun > /dev/null || install_gcnsys
}

install_gcnsys() {
    local extras="${1:-}" root python="${PYTHON:-python3}" stamp wanted
    root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
    stamp="$root/.venv/.installed-${extras:-plain}"
    wanted="$(cat "$root/pyproject.toml" "$root/constraints.txt" "$root/CMakeLists.txt" \
        "$root"/gcnsys/kernels/core/* | cksum)"
    # One at a time: the script may run on several machines that share this folder.
    command -v flock > /dev/null && exec 9> "$root/.venv.lock" && flock 9
    if [ ! -x "$root/.venv/bin/python" ] || [ -e "$root/.venv/.begun" ]; then
        echo "making $root/.venv" >&2
        mkdir -p "$root/.venv" && touch "$root/.venv/.begun"
        "$python" -m venv "$root/.venv" && rm "$root/.venv/.begun"
    fi
    "$root/.venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "$root/.venv has no Python of 3.11 or later; remove it, and name one: PYTHON=python3.11 bash $0" >&2
        return 2
    }
    # What was installed with extras is enough where none is asked for.
    local known=("$stamp")
    [ -n "$extras" ] || known=("$root"/.venv/.installed-*)
    if ! grep -qsxF "$wanted" "${known[@]}"; then
        echo "installing gcnsys${extras:+[$extras]} and what it needs" >&2
        # constraints.txt pins torch; elsewhere an unpinned one may bring gigabytes of CUDA packages.
        "$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check \
            --constraint "$root/constraints.txt" --editable "$root${extras:+[$extras]}" >&2
        echo "$wanted" > "$stamp"
    fi
    command -v flock > /dev/null && exec 9>&-
    export PATH="$root/.venv/bin:$PATH"
}
