#!/usr/bin/env bash
# P emulated machines on this one, joined by a switch: a link carries RATE each way, a packet takes LATENCY.
# Torchrun starts a rank of COMMAND on each, as it would on real machines:
#   sudo bash launch/emulated_cluster.sh 2 1gbit 0 -- -m gcnsys train partitions/mine --method vanilla
# COUNTERS=FILE keeps what the ranks' network devices counted, as JSON.
set -euo pipefail
usage="usage: [COUNTERS=FILE] $0 P RATE LATENCY -- COMMAND; such as: $0 2 1gbit 0 -- -m gcnsys train digits"
refuse() { echo "emulated_cluster: $1" >&2; exit 2; }
[ "${1:-}" != --help ] || { echo "$usage"; exit; }
[ "${4:-}" = -- ] && [ $# -ge 5 ] || { echo "$usage" >&2; exit 2; }
ranks="$1" rate="$2" latency="$3" here="$(dirname "$0")"
[[ "$ranks" =~ ^[1-9][0-9]{0,2}$ ]] || refuse "P must be a whole number from 1 to 999, got '$ranks'"
[[ "$latency" =~ ^(0|[0-9]{1,6}(us|ms))$ ]] || refuse "LATENCY must be 0 or like 500us or 1ms, got '$latency'"
[[ "$rate" =~ ^([1-9][0-9]{0,5})([kmg])bit$ ]] || refuse "RATE must be like 200mbit or 1gbit, got '$rate'"
case "${BASH_REMATCH[2]}" in k) zeros=000 ;; m) zeros=000000 ;; g) zeros=000000000 ;; esac
bits="${BASH_REMATCH[1]}$zeros"
[ -d "$(dirname "${COUNTERS:-.}")" ] || refuse "COUNTERS=$COUNTERS: there is no such folder; make it first"

# A second copy of this script is the first process of the namespaces that everything below lives in. The
# kernel ends all of it with that copy, and that copy with this one, however it ends.
if [ "${EMULATED_CLUSTER:-}$$" != inside1 ]; then
    command -v ip > /dev/null && command -v tc > /dev/null ||
        refuse "'ip' or 'tc' is missing; install the package iproute2"
    [ "$(id -u)" = 0 ] || refuse "network namespaces need root; call it with sudo"
    unshare -mnpf true 2> /dev/null || refuse "root may not make namespaces; a container must be privileged"
    source "$here/install.sh" && find_gcnsys
    trap 'exit 130' INT && trap 'exit 143' TERM
    trap '[ ! -t 2 ] || printf "\e[?25h" >&2' EXIT # the cursor, which progress bars hide
    EMULATED_CLUSTER=inside setpriv --pdeathsig KILL \
        unshare --mount --pid --fork --kill-child --mount-proc bash "$0" "$@" &
    wait $!
    exit
fi
source "$here/network.sh" && make_network "$ranks" "$bits" "$latency"
export GLOO_SOCKET_IFNAME=eth0 TP_SOCKET_IFNAME=eth0 OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
export CUDA_VISIBLE_DEVICES= # ranks on GPUs of one machine would talk past its emulated network
run_rank() {
    local code=0 machine=(ip netns exec "rank$1" taskset -c "$(cores_of "$1" "$ranks")")
    "${machine[@]}" torchrun --nnodes "$ranks" --nproc-per-node 1 --node-rank "$1" \
        --master-addr 10.0.0.1 --master-port 29500 --log-dir "/run/netns/torchrun$1" "${@:2}" || code=$?
    [ $code = 0 ] || { echo "emulated_cluster: rank $1 failed with code $code" >&2 && return $code; }
}
code=0 began="$(date +%s%N)" sent="" got=""
run_rank 0 "${@:5}" &
for ((rank = 1; rank < ranks; rank++)); do run_rank $rank "${@:5}" > "/run/netns/words$rank" 2>&1 & done
for ((rank = 0; rank < ranks; rank++)); do wait -n || { code=$?; break; }; done
if [ $code != 0 ]; then # the others get ten seconds to notice and to say so
    for _ in {1..100}; do [ -z "$(jobs -rp)" ] || sleep 0.1; done
    [ -z "$(jobs -rp)" ] || echo "emulated_cluster: stopping the ranks that still run" >&2
    for ((rank = 1; rank < ranks; rank++)); do sed "s/^/rank $rank: /" "/run/netns/words$rank" >&2; done
fi
milliseconds=$((($(date +%s%N) - began) / 1000000))
counted() { ip netns exec "rank$1" cat "/sys/class/net/eth0/statistics/$2_bytes"; }
for ((rank = 0; rank < ranks; rank++)); do
    tx="$(counted $rank tx)" rx="$(counted $rank rx)" sent+=", $tx" got+=", $rx"
    echo "rank $rank: $tx bytes transmitted, $rx bytes received" >&2
done
counters="{\"transmitted\": [${sent:2}], \"received\": [${got:2}], \"seconds\": ${milliseconds}e-3}"
[ -z "${COUNTERS:-}" ] || { echo "$counters" > "$COUNTERS.tmp" && mv "$COUNTERS.tmp" "$COUNTERS"; }
exit $code
