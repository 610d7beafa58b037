"""The S3 server, and how it is reached."""

from __future__ import annotations

import pytest

from tests.support.s3_server import S3
from zsd_ray.storage.store import Store


@pytest.fixture
def store(s3: S3) -> S3:
    return s3


@pytest.fixture
def reach(s3: S3) -> Store:
    return Store(s3.storage)
