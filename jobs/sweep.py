"""Sweep a suite on the cluster that this job runs on.

    ray job submit --working-dir . -- python jobs/sweep.py --config configs/suites/papers.yaml

The exit code is that of `zsd-ray sweep`.
"""

import argparse
import sys

from zsd_ray.cli import main

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
parser.add_argument("--config", required=True)
parser.add_argument("--address", default="auto", help="of the Ray cluster; auto: this one")
options, others = parser.parse_known_args()  # the others are those of `zsd-ray sweep`
address = f"--set=run.cluster.address={options.address}"
sys.exit(main(["sweep", options.config, address, *others]))
