"""Arrow's types for text, bytes and integers, however they are stored."""

from __future__ import annotations

import pyarrow as pa

_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_BYTES = (
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
    pa.types.is_fixed_size_binary,
)
_LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)


def plain(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values, also of a dictionary."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_text(kind: pa.DataType) -> bool:
    return any(is_(plain(kind)) for is_ in _TEXTS)


def is_bytes(kind: pa.DataType) -> bool:
    return any(is_(plain(kind)) for is_ in _BYTES)


def is_whole_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(plain(kind)) or pa.types.is_boolean(plain(kind)))


def is_list_of_text(kind: pa.DataType) -> bool:
    return any(is_(kind) for is_ in _LISTS) and is_text(kind.value_type)
