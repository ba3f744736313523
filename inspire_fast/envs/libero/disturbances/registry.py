"""Registry of disturbances by their names in evaluation records."""

from inspire_fast.core.registry import Registry
from inspire_fast.envs.libero.disturbances.base import Disturbance
from inspire_fast.envs.libero.disturbances.camera_pose import camera_pose
from inspire_fast.envs.libero.disturbances.distractors import distractors
from inspire_fast.envs.libero.disturbances.image_latency import image_latency
from inspire_fast.envs.libero.disturbances.lighting import lighting
from inspire_fast.envs.libero.disturbances.paraphrases import paraphrases
from inspire_fast.envs.libero.disturbances.positions import positions
from inspire_fast.envs.libero.disturbances.sensor_noise import sensor_noise
from inspire_fast.envs.libero.disturbances.textures import textures

# In the order in which they are applied: image latency must delay a scene whose objects have already been moved.
DISTURBANCES: Registry[Disturbance] = Registry(
    "disturbance",
    {
        "camera_pose": camera_pose,
        "lighting": lighting,
        "textures": textures,
        "positions": positions,
        "distractors": distractors,
        "paraphrases": paraphrases,
        "sensor_noise": sensor_noise,
        "image_latency": image_latency,
    },
)
