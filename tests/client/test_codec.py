"""The codec against openpi's own and against dishonest messages. Recorded bytes are in tests/golden/test_wire.py."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
import msgpack
import numpy as np
from openpi_client import msgpack_numpy
import pytest

from inspire_fast.client.codec import CodecError, pack, unpack
from inspire_fast.client.frame_scan import FrameError, check_frame

UNPACKABLE = {
    "complex": np.zeros(2, np.complex64),
    "object": np.array([{}, 1], dtype=object),
    "struct": np.zeros(1, [("a", "<i4")]),
}


def same(left: Any, right: Any) -> bool:
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, (np.ndarray, np.generic)):
        return (type(left), left.dtype, left.shape, left.tobytes()) == (
            type(right),
            right.dtype,
            right.shape,
            right.tobytes(),
        )
    return type(left) is type(right) and left == right


def test_memory_layout_does_not_show():
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    assert pack(np.asfortranarray(array)) == pack(array)
    assert pack(array[::2, 1::2]) == pack(array[::2, 1::2].copy())


def test_text_and_float_scalars_travel_as_python_values():
    assert unpack(pack(np.str_("asdf"))) == "asdf"
    assert type(unpack(pack(np.float64(1.5)))) is float
    assert unpack(pack((1, "a"))) == [1, "a"]


@pytest.mark.parametrize("name", UNPACKABLE)
def test_refuses_what_upstream_refuses(name):
    with pytest.raises(ValueError, match="Unsupported dtype"):
        pack({"x": UNPACKABLE[name]})


@pytest.mark.parametrize("value", [object(), {1, 2}, np.longdouble(1), np.datetime64("2026-01-01"), 2**64, "\ud800"])
def test_other_values_are_refused_with_a_typed_error(value):
    with pytest.raises(CodecError):
        pack({"x": value})


@pytest.mark.parametrize("order", ["<", ">", "="])
def test_text_arrays_of_either_byte_order(order):
    words = np.array(["left", "größer", "\U0010ffff", ""]).astype(f"{order}U9")
    assert unpack(pack(words)).tolist() == words.tolist()


def test_arrays_are_read_only_views():
    array = unpack(pack(np.arange(5)))
    assert not array.flags.writeable
    assert not array.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


ARRAYS = hnp.arrays(
    hnp.boolean_dtypes() | hnp.integer_dtypes(endianness="=") | hnp.floating_dtypes(endianness="=", sizes=(16, 32, 64)),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=9)
)
VALUES = st.recursive(
    SCALARS | ARRAYS | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None)
@given(value=VALUES)
def test_agrees_with_openpis_codec_both_ways(value):
    packed = pack(value)
    assert packed == msgpack_numpy.packb(value)
    assert same(unpack(packed), value)
    assert same(msgpack_numpy.unpackb(packed), value)


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data):
    try:
        value = unpack(data)
    except CodecError:
        return
    assert same(unpack(pack(value)), value) or "nan" in repr(value)


@settings(max_examples=200, deadline=None)
@given(value=VALUES, data=st.data())
def test_a_damaged_message_is_read_or_refused(value, data):
    packed = bytearray(pack({"x": value}))
    packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        unpack(bytes(packed))
    except CodecError:
        return


def foreign(value: Any) -> bytes:
    """Packed by msgpack itself, as a stranger could send it."""
    packed = msgpack.packb(value)
    assert packed is not None
    return packed


def array_message(**changes: Any) -> bytes:
    fields = {"__ndarray__": True, "data": bytes(8), "dtype": "<f4", "shape": [2], **changes}
    return foreign({key.encode(): value for key, value in fields.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "|O"}, "Unsupported dtype '|O'"),
        ({"dtype": "O"}, "Unsupported dtype"),
        ({"dtype": "i4,i4"}, "Unsupported dtype"),
        ({"dtype": "(2,)f4"}, "Unsupported dtype"),
        ({"dtype": "|V4"}, "Unsupported dtype"),
        ({"dtype": "<c8"}, "Unsupported dtype"),
        ({"dtype": "<f4\n"}, "Unsupported dtype"),
        ({"dtype": "<U0", "data": b""}, "no size"),
        ({"dtype": ["<f4"]}, "Unsupported dtype"),
        ({"dtype": None}, "Unsupported dtype None"),
        ({"data": None}, "needs binary 'data'"),
        ({"data": "text"}, "needs binary 'data'"),
        ({"shape": None}, "list 'shape'"),
        ({"shape": [3]}, "needs 12 bytes; got 8"),
        ({"shape": [1]}, "needs 4 bytes; got 8"),
        ({"shape": [-2]}, "non-negative"),
        ({"shape": [2.0]}, "non-negative"),
        ({"shape": [True]}, "non-negative"),
        ({"shape": [1] * 65}, "at most 32"),
        ({"shape": [2**30] * 5}, "needs"),
        ({"shape": [0, 2**31], "data": b""}, "non-negative integers"),
        ({"dtype": "|b1", "shape": [8], "data": b"\x02" * 8}, "other than 0 and 1"),
        # Found by benchmarks/fuzz_frames.py: SystemError from numpy as soon as somebody looked at an element.
        ({"dtype": "<U1", "data": b"\xff" * 8}, "invalid code points"),
        ({"dtype": ">U1", "data": bytes([0, 0x11, 0, 0, 0, 0, 0, 0x41])}, "invalid code points"),
        ({"dtype": "<U2", "shape": [1], "data": b"\x00\xd8\x00\x00A\x00\x00\x00"}, "invalid code points"),
    ],
)
def test_arrays_that_lie_are_refused(changes, message):
    with pytest.raises(CodecError) as refused:
        unpack(array_message(**changes))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("dtype", "value"), [("<i8", "7"), ("|i1", 300), ("<f4", 1), ("<f4", 1e300), ("<f2", 1e5), ("|b1", 1), ("<U1", "a")]
)
def test_scalars_that_lie_are_refused(dtype, value):
    with pytest.raises(CodecError, match=r"[Ss]calar"):
        unpack(foreign({b"__npgeneric__": True, b"data": value, b"dtype": dtype}))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "truncated"),
        (b"\xc1", "0xc1"),
        (b"\xdd\xff\xff\xff\xff", "truncated"),
        (b"\xda\xff", "truncated"),
        (b"\xc6\xff\xff\xff\xffabc", "claims 4294967295 bytes, 3 are left"),
        (b"\x91" * 40 + b"\xc0", "nested deeper than 32"),
        (b"\xdc\xc8\x00" + b"\xc0" * 51200, "more than 50000 values"),
        (b"\xc0\xc0", "1 bytes follow"),
        (foreign(msgpack.Timestamp(1)), "extension types"),
        (b"\x81\xc0\xc0", "NoneType is not allowed for map key"),
    ],
)
def test_frames_that_lie_are_refused(data, message):
    with pytest.raises(CodecError) as refused:
        unpack(data)
    assert message in str(refused.value)


def test_a_message_above_the_limit_is_refused():
    with pytest.raises(CodecError, match="limit is 10"):
        unpack(pack(bytes(20)), max_bytes=10)
    with pytest.raises(CodecError, match="binary; got str"):
        unpack("text")  # pyright: ignore[reportArgumentType]


@settings(max_examples=200, deadline=None)
@given(value=VALUES)
def test_the_scan_accepts_every_honest_message_and_no_part_of_one(value):
    packed = pack([value])
    check_frame(packed)
    with pytest.raises(FrameError):
        check_frame(packed[:-1])


@pytest.mark.parametrize(
    "packed",
    [
        {b"nd": True, b"type": "<f4", b"kind": b"", b"shape": (2,), b"data": bytes(8)},  # an array
        {b"nd": False, b"type": "<f4", b"data": bytes(4)},  # a scalar
    ],
)
def test_frames_of_the_package_msgpack_numpy_are_recognised(packed):
    with pytest.raises(CodecError, match="PyPI package msgpack-numpy"):
        unpack(msgpack.packb({"observation/state": packed, "prompt": "go"}))
