# SPDX-License-Identifier: Apache-2.0
"""Rematerialisation: what the backward pass recomputes instead of saving, if `train.remat` is not none."""

from collections.abc import Callable

import jax

from t5x_lite.config import ModelConfig

# The `checkpoint_name` of each tensor of a block that can be saved for the backward pass.
REMAT_TENSORS = ("query", "key", "value", "attention_out", "mlp_wi_0", "mlp_wi_1")


def check_remat(cfg: ModelConfig) -> None:
    """Raises ValueError if `cfg.remat` names an unknown tensor, or `cfg.offload` one that is not saved."""
    if not isinstance(cfg.remat, str) and (unknown := set(cfg.remat) - set(REMAT_TENSORS)):
        raise ValueError(f"train.remat names {sorted(unknown)}: use some of {', '.join(REMAT_TENSORS)}")
    if cfg.offload and (cfg.remat == "none" or set(cfg.offload) - set(kept_tensors(cfg.remat))):
        raise ValueError(
            f"train.offload is {list(cfg.offload)} and train.remat is {cfg.remat}: offload only tensors that "
            f"train.remat (minimal, or a list) saves, out of {', '.join(REMAT_TENSORS)}"
        )


def kept_tensors(remat: str | tuple[str, ...]) -> tuple[str, ...]:
    """Returns the names of the tensors that are saved for the backward pass."""
    return {"none": REMAT_TENSORS, "minimal": REMAT_TENSORS, "full": ()}[remat] if isinstance(remat, str) else remat


def checkpointed(layer: Callable, cfg: ModelConfig) -> Callable:
    """Wraps a scan body so that its backward pass recomputes all tensors that `cfg.remat` does not save.

    `full` saves only the layer's input, `minimal` the projections (attention weights and element-wise work are
    recomputed), and a tuple the tensors it names; those in `cfg.offload` go to host memory.
    """
    policy = jax.checkpoint_policies.save_and_offload_only_these_names(
        names_which_can_be_saved=[name for name in kept_tensors(cfg.remat) if name not in cfg.offload],
        names_which_can_be_offloaded=list(cfg.offload),
        offload_src="device",
        offload_dst="pinned_host",
    )
    return jax.checkpoint(layer, policy=policy, prevent_cse=False)
