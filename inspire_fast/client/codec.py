"""Wire codec: msgpack with NumPy arrays, byte for byte like `openpi_client.msgpack_numpy`.

    array  -> {b"__ndarray__": True, b"data": bytes (C order), b"dtype": "<f4", b"shape": [7]}
    scalar -> {b"__npgeneric__": True, b"data": python value, b"dtype": "<f4"}

`np.str_` and `np.float64` are subclasses of `str` and `float` and travel as such; tuples come back as lists.
Reading is stricter than openpi's: it checks every size and type in a message before using it, and the format has
nothing that could carry code (object arrays, pickles, extension types).
"""

from __future__ import annotations

import math
import re
import sys
from typing import Any, cast

import msgpack
import numpy as np

from inspire_fast.client.frame_scan import FrameError, check_frame

MAX_FRAME_BYTES = 64 * 2**20

_ARRAY_MARK = b"__ndarray__"
_SCALAR_MARK = b"__npgeneric__"
_OTHER_PACKAGE = {b"nd", b"type", b"data"}  # of the arrays and scalars of msgpack-numpy
_REFUSED_KINDS = "VOc"  # void/struct, object, complex: openpi refuses them too
# Simple types only. `np.dtype` would also accept "O", "i4,i4" and "(9,9)f8".
_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f(2|4|8|16)|[SU][0-9]{1,6}|[mM]8(\[[0-9a-zA-Z]{1,8}\])?)")
_SCALAR_PYTHON_TYPES = {"b": bool, "i": int, "u": int, "f": float}


class CodecError(ValueError):
    """A value that cannot be packed, or bytes that are not a well-formed message."""


def pack(value: Any) -> bytes:
    """Any nesting of dict, list, tuple, str, bytes, numbers, None and NumPy arrays or scalars -> one message.

    Raises:
        CodecError: a type or array dtype (object, struct, complex) that the wire cannot carry.
    """
    try:
        return cast(bytes, msgpack.packb(value, default=_encode))
    except CodecError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise CodecError(f"Cannot pack this {type(value).__name__}: {error}") from error


def unpack(data: bytes, *, max_bytes: int = MAX_FRAME_BYTES) -> Any:
    """One message -> its value. Arrays are read-only views of the received bytes.

    Raises:
        CodecError: too large, truncated, too deep, not msgpack, or an array whose dtype, shape and size disagree.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise CodecError(f"A message is binary; got {type(data).__name__}.")
    data = bytes(data)
    if len(data) > max_bytes:
        raise CodecError(f"The message has {len(data)} bytes; the limit is {max_bytes}.")
    try:
        check_frame(data)
        return msgpack.unpackb(data, object_hook=_decode)
    except CodecError:
        raise
    except FrameError as error:
        raise CodecError(f"Not a well-formed message: {error}") from error
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        raise CodecError(f"Not a well-formed message: {type(error).__name__}: {error}") from error


def _encode(value: Any) -> dict[bytes, Any]:
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind in _REFUSED_KINDS:
            raise CodecError(f"Unsupported dtype: {value.dtype}. The wire carries numbers, booleans and text.")
        if isinstance(value, np.ndarray):
            data = value.tobytes()  # C order, whatever the memory layout
            return {_ARRAY_MARK: True, b"data": data, b"dtype": value.dtype.str, b"shape": value.shape}
        item = value.item()
        if not isinstance(item, np.generic):  # np.longdouble.item() is again an np.longdouble
            return {_SCALAR_MARK: True, b"data": item, b"dtype": value.dtype.str}
    raise CodecError(f"Cannot send a {type(value).__module__}.{type(value).__qualname__}; convert it to numpy first.")


def _decode(mapping: dict[Any, Any]) -> Any:
    if _ARRAY_MARK in mapping:
        return _decode_array(mapping)
    if _SCALAR_MARK in mapping:
        return _decode_scalar(mapping)
    if mapping.keys() >= _OTHER_PACKAGE:
        raise CodecError(
            "The arrays are packed by the PyPI package msgpack-numpy (entries 'nd', 'type', 'data'). This wire has "
            "openpi's encoding: pack with `openpi_client.msgpack_numpy` or `inspire_fast.client.codec`, and read the "
            "answer with the same."
        )
    return mapping


def _decode_array(fields: dict[Any, Any]) -> np.ndarray:
    dtype = _parse_dtype(fields)
    data, shape = fields.get(b"data"), fields.get(b"shape")
    if not isinstance(data, bytes) or not isinstance(shape, list):
        raise CodecError(
            f"An array needs binary 'data' and a list 'shape'; got {type(data).__name__} and {type(shape).__name__}."
        )
    if len(shape) > 32 or not all(type(size) is int and 0 <= size < 2**31 for size in shape):
        raise CodecError(f"An array's shape must be at most 32 non-negative integers; got {shape[:8]}.")
    needed = math.prod(shape) * dtype.itemsize
    if needed != len(data):
        raise CodecError(f"Array {dtype} {shape} needs {needed} bytes; got {len(data)}.")
    array = np.ndarray(shape, dtype, buffer=data)
    if dtype.kind == "b" and array.size and array.view(np.uint8).max() > 1:
        raise CodecError("A boolean array holds bytes other than 0 and 1.")
    if dtype.kind == "U":
        _check_text(array)
    return array


def _check_text(array: np.ndarray) -> None:
    """Refuses invalid code points: NumPy raises SystemError when code reads such an element."""
    points = np.frombuffer(array.tobytes(), array.dtype.byteorder.replace("=", "") + "u4")
    if points.size and (points.max() > sys.maxunicode or ((points >= 0xD800) & (points <= 0xDFFF)).any()):
        raise CodecError("A text array holds invalid code points.")


def _decode_scalar(fields: dict[Any, Any]) -> np.generic:
    dtype = _parse_dtype(fields)
    value = fields.get(b"data")
    expected = _SCALAR_PYTHON_TYPES.get(dtype.kind)
    if expected is None or type(value) is not expected:
        raise CodecError(f"A scalar of dtype {dtype} cannot hold a {type(value).__name__}.")
    try:
        with np.errstate(over="raise"):
            return dtype.type(value)
    except (OverflowError, FloatingPointError) as error:
        raise CodecError(f"Scalar {value} does not fit its dtype {dtype}.") from error


def _parse_dtype(fields: dict[Any, Any]) -> np.dtype:
    name = fields.get(b"dtype")
    if not isinstance(name, str) or not _DTYPE.fullmatch(name):
        shown = repr(name)[:40]
        raise CodecError(f"Unsupported dtype {shown}; the wire carries booleans, integers, floats, text and times.")
    try:
        dtype = np.dtype(name)
    except TypeError as error:
        raise CodecError(f"Unsupported dtype {name!r}: {error}") from error
    if dtype.itemsize == 0:  # zero bytes could claim any number of elements
        raise CodecError(f"Unsupported dtype {name!r}: its elements have no size.")
    return dtype
