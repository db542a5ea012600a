#!/usr/bin/env bash
# Sourced by the other scripts: `install_gcnsys [EXTRAS]` makes .venv, or reuses it, and puts it on PATH.

install_gcnsys() {
    local extras="${1:-}" root python="${PYTHON:-python3}" stamp wanted
    root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
    stamp="$root/.venv/.installed-${extras:-plain}"
    wanted="$(cat "$root/pyproject.toml" "$root/constraints.txt" "$root/CMakeLists.txt" \
        "$root"/gcnsys/kernels/core/* | cksum)"
    # One that is half made, or of a Python that is too old, is made anew.
    if ! "$root/.venv/bin/python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo "making $root/.venv" >&2
        "$python" -m venv --clear "$root/.venv"
    fi
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        echo "installing gcnsys${extras:+[$extras]} and what it needs" >&2
        # constraints.txt pins torch; elsewhere an unpinned one may bring gigabytes of CUDA packages.
        "$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check \
            --constraint "$root/constraints.txt" --editable "$root${extras:+[$extras]}" >&2
        echo "$wanted" > "$stamp"
    fi
    export PATH="$root/.venv/bin:$PATH"
}
