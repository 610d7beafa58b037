"""Pickles of arrays, read without running what a stranger may have put into them."""

from __future__ import annotations

import pickle
from typing import IO, Any

import numpy as np

# What a pickled array names; plain values (text, bytes, numbers, lists, mappings) name nothing.
_ALLOWED = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(
                f"the pickle asks for {module}.{name}; a file of arrays has no need of it, and "
                "running what a file asks for is not safe, so take the archive from its publisher"
            )
        if name == "_reconstruct":
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        return getattr(np, name)


def load_arrays(opened: IO[bytes]) -> Any:
    """Unpickle arrays of numbers and plain values, also of Python 2.

    Raises:
        UnpicklingError: it asks for anything else; nothing of it has run.
    """
    return _ArrayUnpickler(opened, encoding="latin1").load()
