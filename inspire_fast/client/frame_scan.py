"""Check of a msgpack message's headers, before memory is allocated for it.

A few hostile bytes can claim billions of elements or thousands of nested containers, and the decoder in C allocates
what they claim, level by level. This check compares the claims with the bytes that are there, in one pass without
recursion, so that the decoder sees honest messages only.
"""

from __future__ import annotations

MAX_DEPTH = 32
MAX_ITEMS = 50_000

_SCALAR_BYTES = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8} | {
    first + power: 1 << power for first in (0xCC, 0xD0) for power in range(4)
}
# tag -> size of the big-endian length after it, bytes
_BLOB_LENGTH_BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_ARRAY_LENGTH_BYTES = {0xDC: 2, 0xDD: 4}
_MAP_LENGTH_BYTES = {0xDE: 2, 0xDF: 4}


class FrameError(ValueError):
    """The bytes are not one honest msgpack message within the limits."""


def check_frame(data: bytes, *, max_depth: int = MAX_DEPTH, max_items: int = MAX_ITEMS) -> None:
    """Checks that `data` is exactly one complete msgpack value within the limits.

    Args:
        data: the whole message.
        max_depth: largest nesting of containers.
        max_items: largest number of values in the message, map keys included (an array's bytes are one value).

    Raises:
        FrameError: truncated, trailing bytes, too deep, too many values, or a type that the wire does not use.
    """
    owed = [1]  # values to come, per open container
    position = 0
    items = 0
    while owed:
        if not owed[-1]:
            owed.pop()
            continue
        owed[-1] -= 1
        items += 1
        if items > max_items:
            raise FrameError(f"more than {max_items} values; send numbers as arrays, not as lists.")
        position, children = _read_header(data, position)
        if children:
            if len(owed) > max_depth:
                raise FrameError(f"nested deeper than {max_depth} containers.")
            owed.append(children)
    if position != len(data):
        raise FrameError(f"{len(data) - position} bytes follow the message, which ends after {position}.")


def _read_header(data: bytes, position: int) -> tuple[int, int]:
    """Header of the value at `position` -> (start of the next value, number of values inside)."""
    if position >= len(data):
        raise FrameError(f"truncated: ends after {len(data)} bytes where a value should start.")
    tag = data[position]
    position += 1
    if tag <= 0x7F or tag >= 0xE0:  # small integers
        return position, 0
    if tag <= 0x8F:
        return position, 2 * (tag & 0x0F)
    if tag <= 0x9F:
        return position, tag & 0x0F
    if tag <= 0xBF:
        return _skip(data, position, tag & 0x1F), 0
    if tag in _SCALAR_BYTES:
        return _skip(data, position, _SCALAR_BYTES[tag]), 0
    if tag in _BLOB_LENGTH_BYTES:
        position, length = _read_length(data, position, _BLOB_LENGTH_BYTES[tag])
        return _skip(data, position, length), 0
    if tag in _ARRAY_LENGTH_BYTES:
        return _read_length(data, position, _ARRAY_LENGTH_BYTES[tag])
    if tag in _MAP_LENGTH_BYTES:
        position, pairs = _read_length(data, position, _MAP_LENGTH_BYTES[tag])
        return position, 2 * pairs
    raise FrameError(f"byte 0x{tag:02x} at {position - 1}: extension types are not part of the wire format.")


def _read_length(data: bytes, position: int, size: int) -> tuple[int, int]:
    end = _skip(data, position, size)
    return end, int.from_bytes(data[position:end], "big")


def _skip(data: bytes, position: int, size: int) -> int:
    if position + size > len(data):
        raise FrameError(f"truncated: a value at {position} claims {size} bytes, {len(data) - position} are left.")
    return position + size
