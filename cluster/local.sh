#!/usr/bin/env bash
# Several Ray nodes on this machine, without authentication: `cluster/local.sh up [NODES]`, then
# `ray job submit --address http://127.0.0.1:8265 ...` or `--set cluster.address=auto`; at the end
# `cluster/local.sh down`. For trying out what a cluster does, on a
# machine that you trust; it makes nothing faster.
set -euo pipefail
export RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0
case "${1:-}" in
  up)
    nodes=${2:-2}
    ray start --head --node-ip-address=127.0.0.1 --port=6379 --num-cpus=2 \
      --include-dashboard=true --dashboard-host=127.0.0.1 --disable-usage-stats
    for _ in $(seq 2 "$nodes"); do
      ray start --address=127.0.0.1:6379 --node-ip-address=127.0.0.1 --num-cpus=2 \
        --disable-usage-stats
    done
    ray status --address=127.0.0.1:6379
    ;;
  down) ray stop --force ;;
  *) echo "usage: cluster/local.sh up [NODES] | down" >&2; exit 2 ;;
esac
