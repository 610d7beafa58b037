"""The storage section: how files at URLs are reached."""

from __future__ import annotations

from pydantic import Field

from zsd_ray.settings.section import Section


class StorageConfig(Section):
    """How s3:// URLs are reached; null: as the usual AWS variables and files say.

    No keys here: those come from the environment, a profile or the machine's role. A store that
    does not answer is asked again for `retry_seconds`.
    """

    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None
    anonymous: bool = False
    retry_seconds: float = Field(900, ge=0)
