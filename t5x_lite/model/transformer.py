# SPDX-License-Identifier: Apache-2.0
"""The T5 encoder-decoder: token ids in, float32 logits out.

Shape letters: B batch, S input tokens, T target tokens, K beams, D model, V vocabulary.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import jax
from flax import nnx

from t5x_lite.config import ModelConfig
from t5x_lite.model import masks
from t5x_lite.model.blocks import split_key
from t5x_lite.model.embedding import LMHead, Predictions, TokenEmbedding
from t5x_lite.model.stacks import DecoderStack, EncoderStack

if TYPE_CHECKING:  # for decoding only
    from t5x_lite.model.cache import Cache


class T5(TokenEmbedding, LMHead):
    """The T5 encoder-decoder.

        model = T5(presets["t5_1_1_small"], rngs=nnx.Rngs(0))
        logits_BTV = model(inputs_BS, decoder_inputs_BT)

    The id `cfg.pad_id`, 0 in T5, is padding, which is never attended to in the inputs; `cfg.start_id`, also 0 in T5,
    starts the decoder's inputs.

    Args:
      cfg: one of `presets` or your own configuration.
      rngs: PRNG keys for the initial parameters, drawn from T5's distributions.

    Raises:
      ValueError: if `cfg.remat` names a tensor that is not in `remat.REMAT_TENSORS`.
    """

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        super().__init__(cfg, rngs=rngs)
        self.encoder = EncoderStack(cfg, rngs=rngs)
        self.decoder = DecoderStack(cfg, rngs=rngs)
        self.init_logits_kernel(rngs)

    def __call__(
        self, inputs_BS, decoder_inputs_BT, inputs_segments_BS=None, targets_segments_BT=None, dropout_key=None
    ) -> jax.Array:
        """Predicts each target token from the inputs and the targets before it.

        Args:
          inputs_BS: input ids, `cfg.pad_id` on padding.
          decoder_inputs_BT: target ids shifted right by one, starting with `cfg.start_id`.
          inputs_segments_BS: example numbers of packed inputs, 0 on padding.
          targets_segments_BT: example numbers of packed targets; give both or neither.
          dropout_key: PRNG key for dropout; None in evaluation.

        Returns:
          logits_BTV, float32.
        """
        hidden_BTD = self.hidden(inputs_BS, decoder_inputs_BT, inputs_segments_BS, targets_segments_BT, dropout_key)
        return self.logits(hidden_BTD)

    def hidden(
        self, inputs_BS, decoder_inputs_BT, inputs_segments_BS=None, targets_segments_BT=None, dropout_key=None
    ) -> jax.Array:
        """Returns hidden_BTD, the input of `logits` and the loss; arguments as in `__call__`."""
        if (inputs_segments_BS is None) != (targets_segments_BT is None):
            raise ValueError("only one of inputs_segments_BS and targets_segments_BT is given: give both or neither")
        encode_key, decode_key = split_key(dropout_key, 2)
        encoded_BSD = self.encode(inputs_BS, inputs_segments_BS, encode_key)
        of_inputs = masks.padded(inputs_BS, self.cfg.pad_id)
        if inputs_segments_BS is not None:
            of_inputs = masks.Visible(keys_BS=inputs_segments_BS, queries_BT=targets_segments_BT)
        visible = masks.causal(targets_segments_BT), of_inputs
        return self.decoder(self.embed(decoder_inputs_BT), encoded_BSD, visible, decode_key)

    def predict(self, batch: Mapping[str, jax.Array], dropout_key=None) -> Predictions:
        """Returns the predictions for features from `data.converters.encoder_decoder`."""
        hidden_BTD = self.hidden(
            batch["encoder_input_tokens"],
            batch["decoder_input_tokens"],
            batch.get("encoder_segment_ids"),
            batch.get("decoder_segment_ids"),
            dropout_key,
        )
        kernel_DV = self.output_kernel()
        return Predictions(hidden_BTD, kernel_DV, batch["decoder_target_tokens"], batch["decoder_loss_weights"])

    def encode(self, inputs_BS, inputs_segments_BS=None, dropout_key=None) -> jax.Array:
        """Returns encoded_BSD."""
        visible = masks.padded(inputs_BS, self.cfg.pad_id, inputs_segments_BS)
        return self.encoder(self.embed(inputs_BS), visible, dropout_key)

    def init_cache(self, encoded_BSD, inputs_BS, num_steps: int, num_beams: int = 1) -> "Cache":
        """Returns a cache for decoding up to `num_steps` tokens per beam from encoded inputs."""
        return self.decoder.init_cache(
            encoded_BSD, masks.padding_mask(inputs_BS, self.cfg.pad_id), num_steps, num_beams
        )

    def decode_step(self, tokens_BK, cache: "Cache") -> "tuple[jax.Array, Cache]":
        """Returns logits_BKV of the next tokens, and the cache after `tokens_BK`, one token per beam."""
        hidden_BKD, cache = self.decoder.step(self.embed(tokens_BK), cache)
        return self.logits(hidden_BKD), cache
