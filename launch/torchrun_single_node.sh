#!/usr/bin/env bash
# One machine, one rank a part (and a GPU each where there are as many).
#   bash launch/torchrun_single_node.sh PARTITIONING [options of gcnsys train]
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: $0 PARTITIONING [options of gcnsys train]" >&2; exit 2; }
source "$(dirname "$0")/install.sh" && find_gcnsys
about="$(gcnsys partition show "$1" --json)"
parts="$(python -c 'import json, sys; print(json.load(sys.stdin)["num_parts"])' <<< "$about")"
cores="$(nproc)"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$((cores > parts ? cores / parts : 1))}"
signals=SIGTERM,SIGINT,SIGQUIT,SIGUSR1
[[ "$(trap -p HUP)" == *"''"* ]] || signals+=,SIGHUP # ignored under nohup
exec torchrun --standalone --nproc-per-node "$parts" --max-restarts "${MAX_RESTARTS:-0}" \
    --signals-to-handle "$signals" --shutdown-timeout "${STOP_SECONDS:-120}" \
    -m gcnsys train "$@"
