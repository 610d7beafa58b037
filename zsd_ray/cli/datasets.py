"""The `datasets` command."""

from __future__ import annotations

import argparse

from zsd_ray.cli.options import Commands, add_json
from zsd_ray.cli.terminal import print_json
from zsd_ray.records.errors import EXIT_OK


def add(commands: Commands) -> None:
    """Add this command to the parser's."""
    datasets = commands.add_parser(
        "datasets", help="list the data sets that are known by name, and how their files may lie"
    )
    add_json(datasets)
    datasets.set_defaults(command=_datasets)


def _datasets(options: argparse.Namespace) -> int:
    from zsd_ray.config.readers import DATASETS
    from zsd_ray.data.catalogue import spec_of
    from zsd_ray.reports.dataset_lines import dataset_lines, dataset_tree

    specs = [spec_of(name) for name in DATASETS]
    if options.json:
        print_json({spec.name: dataset_tree(spec) for spec in specs})
    else:
        print(dataset_lines(specs))
    return EXIT_OK
