# SPDX-License-Identifier: Apache-2.0
"""Chooses the implementation of attention of a program, by `model.attention`, platform and shape.

With `is_single_cpu` in `cpu` and `decode_layout` in `unstacked`, makes all choices by platform; other code is the same
everywhere.
"""

import functools
import logging

import jax

from t5x_lite.config import ModelConfig
from t5x_lite.parallel.rules import axis_size

LOG = logging.getLogger(__name__)
TILE = 128  # queries and keys of a tile of the bias
KEY_BLOCK = 512  # keys whose logits a kernel computes at once
LONGEST = 16_384  # keys of a block of heads that fit a TPU's VMEM, with their gradients
WIDEST = 256  # a GPU's registers hold blocks of no larger heads
OLDEST = 8.0  # the compute capability that XLA's Triton needs
interpreted: str | None = None  # the platform whose kernel tests run on CPUs


def platform() -> str:
    """Returns the platform that the traced program is for, which need not be this machine's."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    name = interpreted or (jax.default_backend() if device is None else device.platform)
    return "gpu" if name == "cuda" else name


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
    """Returns how many products of queries x keys a fused backward pass computes besides the four it is made of.

    A TPU's computes the logits of a single block of keys once; of several, it computes logits and gradients of weights
    first for the softmax and again for the gradients. A GPU's computes both for the queries and again for the keys.
    """
    return 1 if num_keys <= KEY_BLOCK and platform() != "gpu" else 3


def saves_statistics() -> bool:
    """Returns whether the backward pass needs more of the forward pass than `remat` names, which then runs again."""
    return platform() == "gpu"


def _obstacle(cfg: ModelConfig, num_queries: int, num_keys: int) -> str | None:
    """Returns why no fused kernel can be used."""
    obstacles = {"tpu": _tpu_obstacle, "gpu": _gpu_obstacle}
    if platform() not in obstacles:
        return f"there is no fused attention for {platform().upper()}s"
    reason = obstacles[platform()](cfg, num_keys)
    if reason is not None:
        return reason
    parts = axis_size("tokens")
    if parts > 1 and (num_queries % (parts * TILE) or num_keys % (parts * TILE)):
        return (
            f"mesh.context is {parts} and the lengths are {num_queries} and {num_keys}: they have to be multiples of "
            f"{TILE} * mesh.context"
        )
    return None


def _tpu_obstacle(cfg: ModelConfig, num_keys: int) -> str | None:
    if TILE % cfg.head_dim and cfg.head_dim % TILE:
        return f"model.head_dim is {cfg.head_dim}, which neither divides {TILE} nor is a multiple of it"
    if num_keys > LONGEST:
        return f"{num_keys} keys are more than the {LONGEST} that fit a TPU's VMEM"
    return None


def _gpu_obstacle(cfg: ModelConfig, num_keys: int) -> str | None:
    del num_keys  # any number: they come block by block
    if cfg.head_dim not in (16, 32, 64, 128, WIDEST):
        return f"model.head_dim is {cfg.head_dim}, which is no power of two from 16 to {WIDEST}"
    try:
        from jax.experimental.pallas import triton  # noqa: F401 - deprecated: newer versions may lack it
    except ImportError:
        return f"jax {jax.__version__} has no Pallas for Triton"
    capability = getattr(jax.local_devices()[0], "compute_capability", None)  # other GPUs than NVIDIA's give a name
    if capability is not None and not (capability[0].isdigit() and float(capability) >= OLDEST):
        return f"the GPU's compute capability is {capability}, not {OLDEST} or more"
    return None


@functools.cache
def _say_once(reason: str) -> None:
    LOG.warning("attention is not fused and needs more memory: %s", reason)
