"""The command line. Heavy imports wait until a command needs them, so that --help is instant."""

from zsd_ray.cli.entry import main

__all__ = ["main"]
