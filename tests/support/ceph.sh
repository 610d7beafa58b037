#!/usr/bin/env bash
# A Ceph object store on loopback: one monitor, one OSD in memory, one S3 gateway.
#
#   ceph.sh EMPTY_DIR S3_PORT MON_PORT      with S3_ACCESS_KEY and S3_SECRET_KEY set
#
# Says "ready", then takes commands on stdin, one a line, and says "done" after each: `stop` kills
# the gateway and `start` starts it again; the objects live on in the OSD. All daemons end with this
# script, and it ends when stdin does: so also when whoever started it is killed.
set -euo pipefail
dir=$(realpath "$1") s3_port=$2 mon_port=$3
conf=$dir/ceph.conf
gateway=
daemons=()

cleanup() {
    # shellcheck disable=SC2086 # an empty gateway is no argument
    kill -9 $gateway "${daemons[@]}" 2>/dev/null || true
    wait
}
trap cleanup EXIT
trap 'exit 1' TERM INT

# Seconds to wait for a thing, and the command that says that it is there.
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $end ]; then
            echo "ceph.sh: waited too long for: $*" >&2
            exit 1
        fi
        sleep 0.2
    done
}

listens() { (: <"/dev/tcp/127.0.0.1/$1"); }
osd_is_up() { timeout 5 ceph -c "$conf" osd stat | grep -q "1 up"; }

start_gateway() {
    radosgw -c "$conf" -n client.rgw.a -f >>"$dir/gateway.log" 2>&1 </dev/null &
    gateway=$!
    until_true 60 listens "$s3_port"
}

stop_gateway() {
    kill -9 "$gateway"
    wait "$gateway" 2>/dev/null || true
    gateway=
}

mkdir -p "$dir"/mon "$dir"/osd "$dir"/run
fsid=$(cat /proc/sys/kernel/random/uuid)
osd_id=$(cat /proc/sys/kernel/random/uuid)
monitor="v2:127.0.0.1:$mon_port"
cat >"$conf" <<CONF
[global]
fsid = $fsid
mon host = [$monitor]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = $dir/keyring
run dir = $dir/run
admin socket = $dir/run/\$name.\$pid.asok
log file = $dir/\$name.log
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail crit = 1
auth allow insecure global id reclaim = false
[mon.a]
mon data = $dir/mon
[osd.0]
osd data = $dir/osd
osd objectstore = memstore
memstore device bytes = 2147483648
[client.rgw.a]
rgw data = $dir/rgw
# Else a new gateway waits half a minute for the killed one, which watched the same caches.
rgw cache enabled = false
rgw frontends = beast endpoint=127.0.0.1:$s3_port
CONF

key() { ceph-authtool "$dir/keyring" --gen-key -n "$@" >>"$dir/setup.log" 2>&1; }
ceph-authtool --create-keyring "$dir/keyring" >>"$dir/setup.log"
key mon. --cap mon 'allow *'
key client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
key osd.0 --cap mon 'allow profile osd' --cap osd 'allow *'
key client.rgw.a --cap mon 'allow rw' --cap osd 'allow rwx'

{
    monmaptool --create --fsid "$fsid" --addv a "[$monitor]" "$dir/monmap"
    ceph-mon -c "$conf" --mkfs -i a --monmap "$dir/monmap" --keyring "$dir/keyring"
} >>"$dir/setup.log" 2>&1
ceph-mon -c "$conf" -i a -f >"$dir/mon.log" 2>&1 </dev/null &
daemons+=($!)
until_true 60 timeout 5 ceph -c "$conf" osd new "$osd_id"

ceph-osd -c "$conf" -i 0 --mkfs --osd-uuid "$osd_id" >>"$dir/setup.log" 2>&1
ceph-osd -c "$conf" -i 0 -f >"$dir/osd.log" 2>&1 </dev/null &
daemons+=($!)
until_true 60 osd_is_up

start_gateway
radosgw-admin -c "$conf" -n client.rgw.a user create --uid tests --display-name tests \
    --access-key "$S3_ACCESS_KEY" --secret-key "$S3_SECRET_KEY" >>"$dir/setup.log" 2>&1
echo ready

while read -r command; do
    case $command in
        stop) stop_gateway ;;
        start) start_gateway ;;
    esac
    echo "done"
done
