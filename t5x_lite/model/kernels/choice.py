# SPDX-License-Identifier: Apache-2.0
"""Which implementation of attention a program gets, by `model.attention`, platform and shape.

With `is_single_cpu` in `cpu` and `decode_layout` in `unstacked`, makes all choices by platform; other code is the same
everywhere.
"""

import functools
import logging

import jax

from t5x_lite.config import ModelConfig
from t5x_lite.model.kernels.bias_tiles import TILE
from t5x_lite.parallel.rules import axis_size

LOG = logging.getLogger(__name__)
KEY_BLOCK = 512  # keys whose logits a kernel computes at once
LONGEST = 16_384  # keys of a block of heads that fit a TPU's VMEM, with their gradients
interpreted = False  # whether tests run the TPU's kernel on CPUs


def platform() -> str:
    """Returns the platform that the traced program is for, which need not be this machine's."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return "tpu" if interpreted else jax.default_backend() if device is None else device.platform


def is_fused(cfg: ModelConfig, num_queries: int, num_keys: int) -> bool:
    """Returns whether attention runs in a fused kernel.

    Raises:
      ValueError: if `cfg.attention` asks for one, and there is none for this platform or shape.
    """
    if cfg.attention == "reference":
        return False
    reason = _obstacle(cfg, num_queries, num_keys)
    if reason is None:
        return True
    if cfg.attention == "fused":
        raise ValueError(f"model.attention is fused, but {reason}: use auto, which takes the reference there")
    if platform() != "cpu":
        _say_once(reason)
    return False


def recomputed_products(num_keys: int) -> int:
    """Returns how many of attention's two products a fused backward pass computes again, for its softmax.

    Of a single block of keys, it computes the logits; of several, it computes logits and gradients of weights first for
    the softmax and again for the gradients.
    """
    return 1 if num_keys <= KEY_BLOCK else 3


def _obstacle(cfg: ModelConfig, num_queries: int, num_keys: int) -> str | None:
    """Returns why no fused kernel can be used."""
    if platform() != "tpu":
        return f"there is no fused attention for {platform().upper()}s"
    if TILE % cfg.head_dim and cfg.head_dim % TILE:
        return f"model.head_dim is {cfg.head_dim}, which neither divides {TILE} nor is a multiple of it"
    if num_keys > LONGEST:
        return f"{num_keys} keys are more than the {LONGEST} that fit a TPU's VMEM"
    parts = axis_size("tokens")
    if parts > 1 and (num_queries % (parts * TILE) or num_keys % (parts * TILE)):
        return (
            f"mesh.context is {parts} and the lengths are {num_queries} and {num_keys}: they have to be multiples of "
            f"{TILE} * mesh.context"
        )
    return None


@functools.cache
def _say_once(reason: str) -> None:
    LOG.warning("attention is not fused and needs more memory: %s", reason)
