"""The S3 server, with this process configured to reach it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.s3_server import S3
from zsd_ray.config.run import StorageConfig
from zsd_ray.storage.filesystem import configure


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave the process as other tests expect it."""
    yield
    configure(StorageConfig())


@pytest.fixture
def store(s3: S3) -> S3:
    configure(s3.storage)
    return s3
