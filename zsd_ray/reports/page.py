"""Self-contained pages of HTML: a template in page.html's frame, with figures inside."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from zsd_ray.reports import figures


def render(template: str, **values: Any) -> str:
    """Fill a template, named from the package: "reports/report.html". Values are escaped."""
    environment = Environment(
        loader=PackageLoader("zsd_ray", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def inline(figure: Any, name: str, description: str) -> Markup:
    """Return a figure as a part of a page; `name` and `description` as for `figures.svg`."""
    return Markup(figures.svg(figure, name, description))  # noqa: S704 - svg escapes every text
