#!/usr/bin/env bash
# One machine, one rank a part (and a GPU each where there are as many).
#   bash launch/torchrun_single_node.sh PARTITIONING [options of gcnsys train]
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -ge 1 ] || { echo "usage: $0 PARTITIONING [options of gcnsys train]" >&2; exit 2; }
source launch/install.sh && install_gcnsys
about="$(gcnsys partition show "$1" --json)"
parts="$(python -c 'import json, sys; print(json.loads(sys.argv[1])["num_parts"])' "$about")"
cores="$(nproc)"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$((cores > parts ? cores / parts : 1))}"
exec torchrun --standalone --nproc-per-node "$parts" --max-restarts "${MAX_RESTARTS:-0}" \
    --signals-to-handle SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 --shutdown-timeout "${STOP_SECONDS:-120}" \
    -m gcnsys train "$@"
