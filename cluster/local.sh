#!/usr/bin/env bash
# Several Ray nodes on this machine, without authentication, for trying out what a cluster does on a
# machine that you trust; it makes nothing faster.
#
#   up [NODES]            a head and NODES - 1 (1) workers, each with one pretended GPU
#   up --autoscale [MAX]  a head without cores; up to MAX (4) workers of one pretended GPU come when
#                         model workers are pending, and go when idle for 6 seconds
#   down                  ends what `up` started, and no other Ray
#
# then `ray job submit --address http://127.0.0.1:8265 ...` or `--set cluster.address=auto`, and for
# workers on the pretended GPUs `--set cluster.gpus_per_worker=1 --set model.device=cpu`. For a
# second cluster beside it set ZSD_RAY_PORT and ZSD_RAY_DASHBOARD_PORT (6379 and 8265).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
port=${ZSD_RAY_PORT:-6379}
dashboard_port=${ZSD_RAY_DASHBOARD_PORT:-8265}
folder=/tmp/zsd_ray_$port # not $TMPDIR: paths of sockets must be short
command -v ray >/dev/null || PATH="$here/../.venv/bin:$PATH"

usage() {
  echo "usage: cluster/local.sh up [NODES] | up --autoscale [MAX] | down" >&2
  exit 2
}

start() {
  # ZSD_RAY_LOCAL marks every process of this cluster, also those that Ray starts later: see down.
  # A stopped job has minutes to write what it knows, as on a cluster; Ray's own 3 s are short.
  env RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0 RAY_JOB_STOP_WAIT_TIME_S=240 \
    ZSD_RAY_LOCAL="$port" "$@"
}

head_node() {
  # Any free agent port: where another Ray has the usual one, the head would take no jobs.
  start "$@" --head --node-ip-address=127.0.0.1 --port="$port" --include-dashboard=true \
    --dashboard-host=127.0.0.1 --dashboard-port="$dashboard_port" --dashboard-agent-listen-port=0 \
    --disable-usage-stats
}

up() {
  head_node ray start --num-cpus=2 --num-gpus=0
  for ((node = 2; node <= $1; node++)); do
    # A folder each, as machines have: in a common one, a node that joins unpacks a job's
    # --working-dir anew below those that run from it.
    start ray start --address="127.0.0.1:$port" --node-ip-address=127.0.0.1 --num-cpus=2 \
      --num-gpus=1 --temp-dir="$folder/$node" --disable-usage-stats
  done
  start ray status --address="127.0.0.1:$port"
}

up_autoscaling() {
  mkdir -p "$folder"
  sed -e "s/127.0.0.1:6379/127.0.0.1:$port/" -e "s/zsd_ray_6379/zsd_ray_$port/" \
    -e "s/max_workers: [1-9].*/max_workers: $1/" \
    "$here/local_autoscaler.yaml" >"$folder/autoscaler.yaml"
  # The id is HEAD of local_provider.py, which is for the first generation of the autoscaler.
  head_node env PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" RAY_enable_autoscaler_v2=0 \
    RAY_OVERRIDE_NODE_ID_FOR_TESTING="$(printf %056x 1)" AUTOSCALER_UPDATE_INTERVAL_S=1 \
    ray start --num-cpus=0 --num-gpus=0 --autoscaling-config="$folder/autoscaler.yaml"
}

down() {
  # Not `ray stop`: it ends every Ray on the machine.
  "$(dirname "$(command -v ray)")/python" - "$port" <<'PY'
import contextlib
import os
import sys

import ray  # brings its own psutil
import psutil
from ray._common.utils import get_ray_address_file

port = sys.argv[1]


def ours():
    """Every process with our mark, and its descendants: renamed ones have lost the mark."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("ZSD_RAY_LOCAL") == port:
                found |= {process, *process.children(recursive=True)}
    return found


for _ in range(3):  # again, for what was being started meanwhile
    left = ours()
    for stop in (psutil.Process.terminate, psutil.Process.kill):
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                stop(process)
        _, left = psutil.wait_procs(left, timeout=5)
address_file = get_ray_address_file(None)  # for address="auto"; another Ray's, if started later
with contextlib.suppress(FileNotFoundError):
    with open(address_file) as file:
        is_stale = file.read().strip().endswith(f":{port}")
    if is_stale:
        os.remove(address_file)
PY
  rm -rf "$folder"
}

case "${1:-} ${2:-}" in
  "up --autoscale") [[ ${3:-4} =~ ^[1-9][0-9]*$ && $# -le 3 ]] || usage; up_autoscaling "${3:-4}" ;;
  up\ *) [[ ${2:-2} =~ ^[1-9][0-9]*$ && $# -le 2 ]] || usage; up "${2:-2}" ;;
  "down ") down ;;
  *) usage ;;
esac
