"""`python -m zsd_ray.cli`."""

import sys

from zsd_ray.cli import main

if __name__ == "__main__":
    sys.exit(main())
