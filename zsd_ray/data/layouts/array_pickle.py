"""Pickles of arrays, read without running untrusted code.

Numpy's own functions trust a pickle: it may set a data type's flags, and so make pointers of bytes.
Here numpy is called only on plain bytes of a plain type.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from typing import IO, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

_NUMBERS = re.compile(r"[biu][1248]|f[248]")


class _Array:
    """The result of `_reconstruct` before its state is set."""

    def __init__(self, *_: Any) -> None:
        self.values: NDArray[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, by_column, data = state
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes | str):
            raise pickle.UnpicklingError("an array of the pickle does not hold numbers")
        raw = data.encode("latin1") if isinstance(data, str) else data  # of Python 2
        order: Literal["F", "C"] = "F" if by_column else "C"
        self.values = np.frombuffer(raw, dtype.plain).reshape(shape, order=order)


class _Dtype:
    """Stands for numpy's dtype while unpickling."""

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or not _NUMBERS.fullmatch(code):
            raise pickle.UnpicklingError(f"an array of the pickle has the type {code!r:.40}")
        self._code, self._order = code, "|"

    def __setstate__(self, state: Any) -> None:
        self._order = state[1] if state[1] in ("<", ">", "|") else "="

    @property
    def plain(self) -> np.dtype[Any]:
        found: np.dtype[Any] = np.dtype(self._order + self._code)
        return found


def _bytes(text: Any, encoding: Any) -> bytes:
    """Return bytes that Python 3 pickled for Python 2."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes of the pickle are in {encoding!r:.40}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Return empty bytes that Python 3 pickled for Python 2."""
    return b""


# What a pickled array names; plain values (text, bytes, numbers, lists, mappings) name nothing.
_ALLOWED: Mapping[tuple[str, str], Any] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): "the class that _reconstruct is told",
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("_codecs", "encode"): _bytes,
    ("__builtin__", "bytes"): _no_bytes,
}


# Python's own, whose memory a pickle cannot make larger than itself by a number alone.
_Unpickler: Any = pickle._Unpickler


class _ArrayUnpickler(_Unpickler):  # type: ignore[misc]
    dispatch: ClassVar[dict[int, Any]] = dict(_Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(
                f"the pickle asks for {module}.{name}; a file of arrays has no need of it, and "
                "running what a file asks for is not safe, so take the archive from its publisher"
            )
        return _ALLOWED[module, name]

    def load_build(self) -> None:
        if not isinstance(self.stack[-2], _Array | _Dtype):
            raise pickle.UnpicklingError("the pickle changes what is no array")
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build


def load_arrays(opened: IO[bytes]) -> dict[str | bytes, Any]:
    """Unpickle a mapping of arrays of numbers and plain values, also of Python 2.

    Raises:
        UnpicklingError: it asks for anything else, none of which has run; or is not a mapping.
    """
    found = _ArrayUnpickler(opened, encoding="latin1").load()
    if not isinstance(found, dict):
        raise pickle.UnpicklingError(f"the pickle holds no mapping, but a {type(found).__name__}")
    return {key: each.values if isinstance(each, _Array) else each for key, each in found.items()}
