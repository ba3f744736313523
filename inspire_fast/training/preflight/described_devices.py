"""Devices that programs can be compiled for without having them: what their makers publish, by name."""

from __future__ import annotations

from dataclasses import dataclass

from inspire_fast.core.registry import Registry


@dataclass(frozen=True, kw_only=True)
class CudaChip:
    """What NVIDIA's compiler asks of a GPU.

    Attributes:
        name: the driver's name of it.
        capability: CUDA compute capability.
        cores: streaming multiprocessors.
        units: float32 units of each.
        shared: bytes of shared memory of each.
        shared_block: of which one block may have so many.
        cache: bytes of the level-2 cache.
        clock: GHz.
    """

    name: str
    capability: tuple[int, int]
    cores: int
    units: int
    shared: int
    shared_block: int
    cache: int
    clock: float


@dataclass(frozen=True, kw_only=True)
class DeviceKind:
    """One device, as published.

    Attributes:
        memory: bytes that the driver shows.
        flops: dense bfloat16 operations per second.
        bandwidth: of the memory, bytes per second.
        link: to all other devices of the machine together, in one direction, bytes per second.
        cuda: of a GPU; None is a TPU, whose compiler knows it by name.
        verified: its description was compared with programs of such a device.
    """

    memory: int
    flops: float
    bandwidth: float
    link: float
    cuda: CudaChip | None = None
    verified: bool = False


_HOPPER = {"capability": (9, 0), "cores": 132, "units": 128, "shared": 233472, "shared_block": 232448}
DEVICES: Registry[DeviceKind] = Registry(
    "device",
    {
        "h200": DeviceKind(
            memory=149_000_000_000,
            flops=989e12,
            bandwidth=4.8e12,
            link=450e9,
            cuda=CudaChip(name="NVIDIA H200", **_HOPPER, cache=52_428_800, clock=1.98),
        ),
        "h100": DeviceKind(
            memory=85_000_000_000,
            flops=989e12,
            bandwidth=3.35e12,
            link=450e9,
            cuda=CudaChip(name="NVIDIA H100 80GB HBM3", **_HOPPER, cache=52_428_800, clock=1.98),
        ),
        "a100": DeviceKind(
            memory=85_000_000_000,
            flops=312e12,
            bandwidth=2.04e12,
            link=300e9,
            cuda=CudaChip(
                name="NVIDIA A100-SXM4-80GB",
                capability=(8, 0),
                cores=108,
                units=64,
                shared=167_936,
                shared_block=166_912,
                cache=41_943_040,
                clock=1.41,
            ),
        ),
        "l40s": DeviceKind(
            memory=47_700_000_000,
            flops=362e12,
            bandwidth=864e9,
            link=32e9,
            cuda=CudaChip(
                name="NVIDIA L40S",
                capability=(8, 9),
                cores=142,
                units=128,
                shared=102_400,
                shared_block=101_376,
                cache=100_663_296,
                clock=2.52,
            ),
        ),
        "rtx4090": DeviceKind(
            memory=25_300_000_000,
            flops=165e12,
            bandwidth=1.008e12,
            link=32e9,
            cuda=CudaChip(
                name="NVIDIA GeForce RTX 4090",
                capability=(8, 9),
                cores=128,
                units=128,
                shared=102_400,
                shared_block=101_376,
                cache=75_497_472,
                clock=2.52,
            ),
        ),
        "v4": DeviceKind(memory=32 * 2**30, flops=275e12, bandwidth=1.2e12, link=300e9),
        "v5e": DeviceKind(memory=16 * 2**30, flops=197e12, bandwidth=819e9, link=200e9),
        "v5p": DeviceKind(memory=95 * 2**30, flops=459e12, bandwidth=2.765e12, link=600e9),
        "v6e": DeviceKind(memory=32 * 2**30, flops=918e12, bandwidth=1.64e12, link=448e9),
    },
)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Devices of one kind.

    Attributes:
        kind: name in `DEVICES`.
        shape: number of GPUs, or the TPU's topology.
    """

    kind: str
    shape: tuple[int, ...]

    @property
    def device(self) -> DeviceKind:
        return DEVICES[self.kind]

    def __str__(self) -> str:
        return f"{self.kind}:{'x'.join(map(str, self.shape))}"


def parse_machine(text: str) -> Machine:
    """A machine from its name: `h200:8`, `v5p:4x4x4`; `h200` alone is one GPU.

    Raises:
        UnknownNameError: an unknown device; suggests the closest.
        ValueError: a size that is none.
    """
    kind, _, size = text.partition(":")
    device = DEVICES[kind.lower()]
    example = f"{kind.lower()}:8" if device.cuda else f"{kind.lower()}:{'4x4x4' if kind in ('v4', 'v5p') else '4x4'}"
    words = size.split("x") if size else ["1"] if device.cuda else []
    if not words or not all(word.isdigit() and int(word) for word in words) or (device.cuda and len(words) > 1):
        what = "a number of GPUs" if device.cuda else "a TPU topology"
        raise ValueError(f"{text!r} must name {what} behind the colon, such as {example}.")
    return Machine(kind=kind.lower(), shape=tuple(map(int, words)))


def cuda_target(kind: DeviceKind) -> str:
    """The description of a GPU that XLA reads in the place of a driver's, a text protobuf.

    Raises:
        ValueError: the device is no GPU.
    """
    chip = kind.cuda
    if chip is None:
        raise ValueError("Only GPUs are described to XLA; TPUs are known to libtpu by their names.")
    info = {
        "threads_per_block_limit": 1024,
        "threads_per_warp": 32,
        "shared_memory_per_block": 49152,
        "shared_memory_per_core": chip.shared,
        "threads_per_core_limit": 2048 if chip.capability in ((8, 0), (9, 0)) else 1536,
        "core_count": chip.cores,
        "fpus_per_core": chip.units,
        "block_dim_limit_x": 2**31 - 1,
        "block_dim_limit_y": 65535,
        "block_dim_limit_z": 65535,
        "memory_bandwidth": int(kind.bandwidth),
        "l2_cache_size": chip.cache,
        "clock_rate_ghz": chip.clock,
        "device_memory_size": kind.memory,
        "shared_memory_per_block_optin": chip.shared_block,
        "registers_per_core_limit": 65536,
        "registers_per_block_limit": 65536,
    }
    fields = " ".join(f"{name}: {value}" for name, value in info.items())
    major, minor = chip.capability
    return (
        f"gpu_device_info {{ {fields} cuda_compute_capability {{ major: {major} minor: {minor} }} }} "
        'platform_name: "CUDA" dnn_version_info { major: 9 minor: 8 patch: 0 } '
        f'device_description_str: "{chip.name}"'
    )
