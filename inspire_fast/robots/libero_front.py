"""LIBERO's Panda as the released InSpire-FAST checkpoints see it: the front camera alone, flipped vertically.

Everything else, the words among it, is `libero`'s; both wrist slots of the network are black.
"""

from dataclasses import replace

from inspire_fast.robots.libero import LIBERO

LIBERO_FRONT = replace(
    LIBERO,
    name="libero_front",
    cameras={"observation/image": "base_0_rgb"},
    unused_cameras=("observation/wrist_image",),
    image_orientation="flipped_vertically",
)
