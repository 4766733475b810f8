#!/bin/sh
# Records keepalived's and FRR's adverts into captures for `make.py record`.
#
#     record.sh keepalived OUT.pcap
#     record.sh frr OUT.pcap
#
# Needs root, iproute2, dumpcap, and the daemon. Everything happens in two network namespaces of this
# run, which are gone afterwards, and in a directory under /tmp, because FRR's daemons change user.
set -eu
here=$(dirname "$(realpath "$0")")
daemon=$1
capture=$(realpath -m "$2")
router=rec-a-$$
listener=rec-b-$$
work=$(mktemp -d /tmp/record-XXXXXX)
pids=

clean_up() {
    for file in "$work"/*.pid; do
        [ -s "$file" ] && pids="$pids $(cat "$file")"
    done
    for pid in $pids; do
        kill "$pid" 2>/dev/null || true
    done
    wait
    sleep 1
    ip netns del "$router" 2>/dev/null || true
    ip netns del "$listener" 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

ip netns add "$router"
ip netns add "$listener"
ip link add rec0 netns "$router" type veth peer name rec1 netns "$listener"
for end in "$router rec0 1" "$listener rec1 2"; do
    set -- $end
    ip -n "$1" addr add "10.76.0.$3/24" dev "$2"
    ip -n "$1" addr add "fd76::$3/64" dev "$2" nodad
    ip -n "$1" link set lo up
    ip -n "$1" link set "$2" up
done
ip -n "$router" addr add 10.76.0.9/24 dev rec0
sleep 2    # link-local addresses are tentative
ip netns exec "$listener" dumpcap -q -P -i rec1 -w "$work/capture" \
    -f 'proto 112 or proto 51 or ip6 proto 112' &
dumpcap=$!
pids="$pids $dumpcap"
sleep 1

if [ "$daemon" = keepalived ]; then
    ip netns exec "$router" keepalived -n -l -P -f "$here/keepalived.conf" \
        -p "$work/keepalived" -r "$work/vrrp" &
    pid=$!
    pids="$pids $pid"
    sleep 8
    kill "$pid"
    wait "$pid" || true
else
    for vrid in 31 32 33 34; do
        mac=$(printf %02x "$vrid")
        for family in 4 6; do
            link=vrr$family-$vrid
            ip -n "$router" link add "$link" link rec0 type macvlan mode bridge
            ip -n "$router" link set dev "$link" address \
                "00:00:5e:00:0$((family / 2 - 1)):$mac"
        done
        for host in 1 2 3; do
            ip -n "$router" addr add "10.75.$vrid.$host/24" dev "vrr4-$vrid"
        done
        ip -n "$router" addr add "fd75:$vrid::1/64" dev "vrr6-$vrid" nodad
        ip -n "$router" link set "vrr4-$vrid" up
        ip -n "$router" link set "vrr6-$vrid" up
    done
    touch "$work/zebra.conf" "$work/vrrpd.conf"
    chmod 755 "$work"
    chown -R frr:frr "$work"
    for name in zebra vrrpd; do
        ip netns exec "$router" "/usr/lib/frr/$name" -d -z "$work/zserv" -i "$work/$name.pid" \
            -f "$work/$name.conf" --vty_socket "$work" -A 127.0.0.1 -P 0
        sleep 3    # vrrpd takes a configuration only for links it has heard of
    done
    vtysh --vty_socket "$work" -d vrrpd -f "$here/frr.conf"
    sleep 8
    kill "$(cat "$work/vrrpd.pid")"
fi
sleep 1
kill "$dumpcap"
wait "$dumpcap" || true
cp "$work/capture" "$capture"
