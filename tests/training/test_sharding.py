import math

import jax

from inspire_fast.training.config import MeshConfig
from inspire_fast.training.named_configs import load_config
from inspire_fast.training.sharding import AXES, make_mesh, placement_table, state_shardings
from inspire_fast.training.state import init_state


def test_parameters_moments_and_average_are_divided_by_all_devices() -> None:
    """No device holds more than its eighth, but for two percent: one key/value head, biases, positions."""
    shapes = jax.eval_shape(lambda: init_state(load_config("inspire_libero")))
    placed = state_shardings(shapes, jax.sharding.AbstractMesh((1, 4, 2), AXES))
    for group in ("params", "ema", "opt_state"):
        leaves = jax.tree.leaves(getattr(shapes, group))
        shards = [s.shard_shape(x.shape) for x, s in zip(leaves, jax.tree.leaves(getattr(placed, group)), strict=True)]
        held, whole = sum(map(math.prod, shards)), sum(leaf.size for leaf in leaves)
        assert whole > 2.9e9
        assert 1 <= 8 * held / whole < 1.02


def test_the_table_says_what_lies_where() -> None:
    config = load_config("inspire_libero_low_mem")
    shapes = jax.eval_shape(lambda: init_state(config))
    split = jax.sharding.AbstractMesh((1, 4, 2), AXES)
    text = placement_table(shapes.params, state_shardings(shapes, split).params)
    lines = {line.split()[0]: line for line in text.splitlines()}
    assert lines["language/embedding"].split("  ")[-1].strip() == f"{257152 * 2048 * 2 / 8 / 2**20:.1f} MiB"
    assert "tensor x fsdp" in lines["language/embedding"]
    assert "bfloat16" in lines["language/layers/down"]
    whole = placement_table(shapes.params, state_shardings(shapes, make_mesh(MeshConfig())).params)
    assert sum(float(line.split()[-2].replace(",", "")) for line in whole.splitlines()[1:]) * 2**20 > 2.5e9 * 2
    assert "small ones" in text
