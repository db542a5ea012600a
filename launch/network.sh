#!/usr/bin/env bash
# Sourced by emulated_cluster.sh, in a mount namespace of its own. `make_network P BITS LATENCY` makes network
# namespaces rank0 to rank(P - 1), each with a device eth0 on a switch, that carry BITS a second. `cores_of RANK P`
# names the cores that a machine has to itself: an even share of those here; P may exceed them, then one is shared.

cores_of() {
    local cores each first
    IFS=, read -ra cores <<< "$(python3 -c 'import os; print(*sorted(os.sched_getaffinity(0)), sep=",")')"
    each=$((${#cores[@]} / $2)) first=$(($1 % ${#cores[@]}))
    [ $each = 0 ] || first=$(($1 * each))
    (IFS=, && echo "${cores[*]:first:each > 0 ? each : 1}")
}

make_network() {
    # A bucket of 0.7 ms: next to nothing goes through for free, and a timer that is late costs no rate.
    local ranks="$1" rate="$2bit" burst=$(($2 / 12000 + 3200)) latency="$3" rank node port address above
    trap 'refuse "this kernel cannot make the network; it needs veth, bridge and sch_tbf"' ERR
    mkdir -p /run/netns
    mount -t tmpfs tmpfs /run/netns # names that no other run sees, and that end with this one
    cp /etc/hosts /run/netns/hosts
    mount --bind /run/netns/hosts /etc/hosts
    ip netns add switch
    ip -n switch link add name switch up type bridge
    for ((rank = 0; rank < ranks; rank++)); do
        node="rank$rank" port="port$rank" address="10.0.$((rank / 250)).$((rank % 250 + 1))" above=(root)
        printf '%s\n' "$address $node" "::ffff:$address $node" >> /etc/hosts
        ip netns add "$node"
        ip -n switch link add name "$port" up master switch type veth peer name eth0 netns "$node"
        ip -n "$node" address add "$address/16" dev eth0
        # Packets that fit the bucket: tbf cuts up larger ones, which costs more time than all else together.
        ip -n "$node" link set eth0 up gso_max_size $((burst > 87000 ? 65536 : burst * 3 / 4))
        ip -n "$node" link set lo up
        # The machine's own choice may be BBR, which leaves a quarter of a short busy link unused. And a real device
        # tells how much it holds, so that a short message does not wait behind megabytes of a long one: 2 ms here.
        ip netns exec "$node" bash -c "echo reno > /proc/sys/net/ipv4/tcp_congestion_control
            echo $((burst * 3)) > /proc/sys/net/ipv4/tcp_limit_output_bytes"
        if [[ "$latency" =~ [1-9] ]]; then
            tc -n switch qdisc add dev "$port" root handle 1: \
                netem delay "$latency" limit 1000000 2> /dev/null ||
                refuse "this kernel has no netem, which a LATENCY of $latency needs; give 0"
            above=(parent 1:1)
        fi
        # A real device limits what it sends and what it gets.
        tc -n "$node" qdisc add dev eth0 root tbf rate "$rate" burst $burst latency 50ms
        tc -n switch qdisc add dev "$port" "${above[@]}" tbf rate "$rate" burst $burst latency 50ms
    done
    trap - ERR
}
