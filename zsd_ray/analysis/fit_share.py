"""The images of a run that a labelled fit uses: a fixed choice by their ids."""

from __future__ import annotations

import hashlib

SALT = "zsd-ray fit"
"""Of the hash that chooses the images of a labelled fit; another than that of `data.limit`."""


def in_share(image_id: str, share: float, salt: str = SALT) -> bool:
    """Whether an image is in the `share` whose labels a fit uses."""
    digest = hashlib.blake2b(f"{salt}\0{image_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64
