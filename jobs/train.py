"""Train the model that a configuration describes, on the machine that this job runs on.

ray job submit --working-dir . -- python jobs/train.py --config configs/train-digits.yaml
"""

import argparse
import sys

from zsd_ray.cli import main

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--config", required=True)
options, others = parser.parse_known_args()  # the others are those of `zsd-ray train`
sys.exit(main(["train", options.config, *others]))
