# SPDX-License-Identifier: Apache-2.0
"""Looks for large arrays that a mesh replicates although it could shard them."""

import math
from typing import Any

from jax.sharding import Mesh

from t5x_lite.parallel.param_paths import named_leaves

# Limits on replicated state: vectors and small tables per layer are replicated by design.
MAX_REPLICATED_SHARE, MAX_REPLICATED_BYTES = 0.02, 2**24


def check_sharded(shapes: Any, mesh: Mesh) -> None:
    """Raises ValueError if large arrays are replicated on a mesh that could shard them; `shapes` have shardings."""
    leaves = named_leaves(shapes)
    sizes = {name: math.prod(leaf.shape) * leaf.dtype.itemsize for name, leaf in leaves.items()}
    whole = {name: sizes[name] for name, leaf in leaves.items() if leaf.sharding.is_fully_replicated}
    share = sum(whole.values()) / sum(sizes.values())
    if sum(whole.values()) > MAX_REPLICATED_BYTES and share > MAX_REPLICATED_SHARE:
        largest = max(whole, key=lambda name: whole[name])
        raise ValueError(
            f"mesh {dict(mesh.shape)} replicates {share:.0%} of the parameters and the optimizer state on every "
            f"device, most of all {largest}: shard over fsdp or tensor, or name its dimensions in parallel.rules.RULES"
        )
