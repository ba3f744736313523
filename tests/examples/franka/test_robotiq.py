"""Robotiq's driver against a simulated device that speaks Modbus RTU."""

import struct

import pytest

from examples.franka.robotiq import Robotiq, checksum


class Device:
    """The gripper's registers behind a serial line; `place` follows the request at once."""

    def __init__(self, *, dead=False, activates=True):
        self.dead, self.activates = dead, activates
        self.active, self.place, self.speed_and_force, self.reply = False, 0, None, b""

    def write(self, data):
        assert checksum(data[:-2]) == data[-2:]
        unit, function, register, count = struct.unpack(">BBHH", data[:6])
        assert unit == 9
        if function == 16:
            assert (register, count, data[6]) == (0x03E8, 3, 6)
            action, place, strength = struct.unpack(">3H", data[7:13])
            self.active = self.activates and action >> 8 & 1 == 1
            if action >> 8 & 8:
                self.place, self.speed_and_force = place, strength
            body = data[:6]
        else:
            assert (function, register, count) == (3, 0x07D0, 3)
            status = 0x31 if self.active else 0x00
            body = bytes([9, 3, 6, status, 0, 0, self.place, self.place, 0])
        self.reply = b"" if self.dead else body + checksum(body)
        return len(data)

    def read(self, size):
        return self.reply[:size]


def test_the_checksum_is_modbus_own():
    assert checksum(bytes.fromhex("0903 07d0 0003")).hex() == "040e"  # from Robotiq's manual


def test_it_is_activated_closed_and_opened():
    device = Device()
    hand = Robotiq("/dev/ttyUSB0", line=lambda port: device)
    assert device.active
    assert hand.closed() == 0.0
    hand.move(1.0)
    assert (device.place, device.speed_and_force, hand.closed()) == (255, 128 << 8 | 64, 1.0)
    hand.move(-3.0)
    assert hand.closed() == 0.0


@pytest.mark.parametrize(
    ("device", "words"),
    [(Device(dead=True), "answered nothing; check cable"), (Device(activates=False), "did not finish its activation")],
)
def test_a_gripper_that_does_not_answer_is_told(device, words):
    with pytest.raises(OSError, match=words):
        Robotiq("/dev/ttyUSB0", line=lambda port: device, activation_s=0.05)
