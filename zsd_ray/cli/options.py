"""Options that several commands share."""

from __future__ import annotations

import argparse
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

EXIT_CODES = """\
exit codes:
  0    every image was classified
  1    the run broke off; the same command resumes it
  2    bad input; nothing was started
  3    some images could not be classified; their rows say why
  70   a fault of zsd-ray; the line names a file with the traceback
  130  interrupted; the same command resumes it
"""


def add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="YAML file; docs/reference/configuration.md lists its keys")
    add_set(parser)
    parser.add_argument("--preset", metavar="NAME", help="short for --set preset=NAME")
    parser.add_argument(
        "--limit", type=int, metavar="N", help="classify N of the images (a fixed, nested choice)"
    )


def add_set(
    parser: argparse.ArgumentParser,
    form: str = "SECTION.KEY=VALUE",
    text: str = "override one key of the file; may be given several times",
) -> None:
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar=form, help=text
    )


def add_storage(parser: argparse.ArgumentParser) -> None:
    add_set(parser, "storage.KEY=VALUE", "how s3:// is reached; may be given several times")


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def add_html(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--html", metavar="FILE", help="also write a page, with a figure")
