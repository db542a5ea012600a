#!/usr/bin/env bash
# Several machines: run this on each of them, with the same arguments.
#   NODES=2 RANKS_PER_NODE=4 HEAD=node0:29500 bash launch/torchrun_multi_node.sh PARTITIONING [options]
# PARTITIONING must be readable on every machine (each rank reads its own part only), with
# NODES * RANKS_PER_NODE parts. HEAD is any one of the machines and a free port on it.
set -euo pipefail
usage="usage: NODES=n RANKS_PER_NODE=r HEAD=host:port $0 PARTITIONING [options of gcnsys train]"
[ $# -ge 1 ] && [ -n "${NODES:-}" ] && [ -n "${RANKS_PER_NODE:-}" ] && [ -n "${HEAD:-}" ] ||
    { echo "$usage" >&2; exit 2; }
source "$(dirname "$0")/install.sh" && find_gcnsys
cores="$(nproc)"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$((cores > RANKS_PER_NODE ? cores / RANKS_PER_NODE : 1))}"
signals=SIGTERM,SIGINT,SIGQUIT,SIGUSR1
[[ "$(trap -p HUP)" == *"''"* ]] || signals+=,SIGHUP # ignored under nohup
# Name the network device if gloo or NCCL picks the wrong one: GLOO_SOCKET_IFNAME, NCCL_SOCKET_IFNAME.
exec torchrun --nnodes "$NODES" --nproc-per-node "$RANKS_PER_NODE" \
    --rdzv-backend c10d --rdzv-endpoint "$HEAD" --rdzv-id "${RUN_ID:-gcnsys}" \
    --max-restarts "${MAX_RESTARTS:-0}" --shutdown-timeout "${STOP_SECONDS:-120}" \
    --signals-to-handle "$signals" \
    -m gcnsys train "$@"
