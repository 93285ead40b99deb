# SPDX-License-Identifier: Apache-2.0
"""Compares the sizes that a model's description claims with what its files hold, before anything is built from them."""

from t5x_lite.config import ModelConfig
from t5x_lite.config.architectures import Architecture


def check_sizes(
    cfg: ModelConfig, architecture: Architecture, num_held: int, where: str, *, num_arrays: int | None = None
) -> None:
    """Raises ValueError, beginning with `where`, if a model has more layers or parameters than its files.

    The parameters of norms, heads and cross-attention are left out: this bounds sizes, and shapes are compared later.

    Args:
      num_held: the number of parameters in the files.
      num_arrays: the number of arrays in the files, if each is of one layer at most.
    """
    traits = architecture.traits
    num_layers = cfg.num_encoder_layers * traits.has_encoder + cfg.num_decoder_layers * traits.decodes
    of_layer = cfg.emb_dim * (4 * cfg.num_heads * cfg.head_dim + 2 * cfg.mlp_dim)
    least = cfg.vocab_size * cfg.emb_dim + num_layers * of_layer + cfg.relative_position_buckets * cfg.num_heads
    if num_arrays is not None and num_layers > num_arrays:
        problem = f"{num_layers:,} layers, but its weights are {num_arrays:,} arrays"
    elif least > num_held:
        problem = f"{least:,} parameters or more, but its weights have {num_held:,}"
    else:
        return
    raise ValueError(f"{where} describes a model of {problem}: use the files of one model")
