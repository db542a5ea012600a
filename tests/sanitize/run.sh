#!/usr/bin/env bash
# Builds the native core with AddressSanitizer and UndefinedBehaviorSanitizer and feeds it arrays that
# fit and arrays that do not: tests/sanitize/run.sh [SECONDS]. Needs GCC, CMake, nanobind and NumPy.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
python="${PYTHON:-python3}"
build="$(mktemp -d)"
trap 'rm -rf "$build"' EXIT
cmake -S "$root" -B "$build" -DPython_EXECUTABLE="$("$python" -c 'import sys; print(sys.executable)')" \
    -DCMAKE_BUILD_TYPE=RelWithDebInfo -DGCNSYS_SANITIZE=ON > "$build/log" || { cat "$build/log"; exit 1; }
cmake --build "$build" --parallel "$(env -u OMP_NUM_THREADS nproc)" > "$build/log" || { cat "$build/log"; exit 1; }
# The interpreter itself is not instrumented: the runtime has to be there first, and its leaks are not ours.
LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libstdc++.so)" \
    ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
    "$python" "$root/tests/sanitize/fuzz.py" "$build" "${1:-60}"
