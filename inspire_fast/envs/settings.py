"""What a simulator's settings may be."""

from __future__ import annotations

from collections.abc import Mapping

CHOICES = {
    "initial_states": ("fixed", "randomized"),
    "fixture_seeding": ("episode", "constant", "sequence"),
    "sampling": ("end", "robosuite"),
    "render_quality": ("full", "reduced"),
}


def check_settings(chosen: Mapping[str, str], *, seed: int, settle_steps: int, camera_hw: tuple[int, int]) -> None:
    """Refuses settings that do not exist or do not go together.

    Raises:
        ValueError: names what was given and what there is.
    """
    for name, value in chosen.items():
        if value not in CHOICES[name]:
            raise ValueError(f"{name} must be one of {', '.join(CHOICES[name])}; got {value!r}.")
    if chosen["fixture_seeding"] == "sequence" and chosen["initial_states"] != "fixed":
        raise ValueError("fixture_seeding='sequence' needs initial_states='fixed': redrawn placements have no order.")
    if seed < 0 or settle_steps < 0 or min(camera_hw) < 1:
        raise ValueError(
            f"seed and settle_steps must be >= 0 and camera_hw >= 1; got {seed}, {settle_steps}, {camera_hw}."
        )
