# SPDX-License-Identifier: Apache-2.0
"""The decoder-only language model, causal or with a bidirectional prefix.

Shape letters: B batch, T tokens, P prompt tokens, K beams, C cache places, D model, N heads,
V vocabulary; 1 if broadcast.

Source: T5X `examples/decoder_only`.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from t5x_lite.config import ModelConfig
from t5x_lite.model import masks
from t5x_lite.model.blocks import EncoderBlock, split_key
from t5x_lite.model.cache import Cache, KeysValues, keys_values, no_prompts, with_room
from t5x_lite.model.decoding import decoder_only_block_step, read_block, run_step, unstacked
from t5x_lite.model.embedding import LMHead, Predictions, TokenEmbedding
from t5x_lite.model.kernels.attention import prepare, prepare_bias
from t5x_lite.model.layers import dropout
from t5x_lite.model.stacks import Stack, layer_biases


class DecoderOnlyStack(Stack):
    """Self-attention without cross-attention."""

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        super().__init__(cfg, EncoderBlock, cfg.num_decoder_layers, bidirectional=False, rngs=rngs)

    def __call__(self, x_BTD, visible: masks.Visible, dropout_key=None) -> jax.Array:
        """Returns hidden_BTD."""
        before, within, after = split_key(dropout_key, 3)
        B, T, _ = x_BTD.shape
        seen = prepare(self.cfg, visible, B, T, T)
        hidden_BTD = self.run(
            lambda block, x_BTD, bias, key: block(x_BTD, bias, seen, key), x_BTD, seen, before, within
        )
        return dropout(hidden_BTD, self.cfg.dropout_rate, after)

    def read(self, x_BPD, visible: masks.Visible) -> tuple[KeysValues, ...]:
        """Processes whole prompts; returns each layer's keys and values."""
        B, P, _ = x_BPD.shape
        seen = prepare(self.cfg, visible, B, P, P)
        tables_L, bias = layer_biases(self.position_bias, lambda table: prepare_bias(table, seen, P, P))

        def layer(x_BPD, scanned):
            block, table = scanned
            x_BPD, keys_values_BPNH = read_block(block, x_BPD, bias(table), seen)
            return x_BPD, keys_values(*keys_values_BPNH)

        _, read_L = jax.lax.scan(layer, x_BPD, (self.blocks, tables_L))
        return tuple(unstacked(read_L, index) for index in range(self.num_layers))

    def step(self, x_BKD, cache: Cache, layers: Sequence[EncoderBlock] | None = None) -> tuple[jax.Array, Cache]:
        """Decodes one token per beam; see `run_step`."""

        def call(block, index, x_BKD, bias_1N1C, mask_B1KC):
            return decoder_only_block_step(block, x_BKD, cache.layers[index], cache.place, bias_1N1C, mask_B1KC)

        return run_step(self, call, x_BKD, cache, layers)


class Decoder(TokenEmbedding, LMHead):
    """A decoder-only T5 with `cfg.num_decoder_layers` self-attention blocks.

        model = Decoder(presets["t5_1_1_small"], rngs=nnx.Rngs(0))
        logits_BTV = model(inputs_BT)

    The inputs are the targets shifted right by one, as produced by `data.converters.decoder_only` and `prefix_lm`.

    Args:
      cfg: one of `presets` or your own configuration; `num_encoder_layers` is ignored.
      rngs: PRNG keys for the initial parameters, drawn from T5's distributions.

    Raises:
      ValueError: if `cfg.remat` names a tensor that is not in `remat.REMAT_TENSORS`.
    """

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        super().__init__(cfg, rngs=rngs)
        self.decoder = DecoderOnlyStack(cfg, rngs=rngs)
        self.init_logits_kernel(rngs)

    def __call__(self, inputs_BT, prefix_BT=None, segments_BT=None, dropout_key=None) -> jax.Array:
        """Predicts each token from the tokens before it and the whole prefix.

        Args:
          inputs_BT: token ids shifted right by one, starting with `cfg.start_id`; padding comes last.
          prefix_BT: 1 on the bidirectional prefix (`decoder_causal_attention`), or None without a prefix.
          segments_BT: example numbers of packed rows, 0 on padding.
          dropout_key: PRNG key for dropout; None in evaluation.

        Returns:
          logits_BTV, float32.
        """
        return self.logits(self.hidden(inputs_BT, prefix_BT, segments_BT, dropout_key))

    def hidden(self, inputs_BT, prefix_BT=None, segments_BT=None, dropout_key=None) -> jax.Array:
        """Returns hidden_BTD, the input of `logits` and the loss; arguments as in `__call__`."""
        # Padding is not masked: T5's id also starts every example, and real tokens never look ahead to padding.
        return self.decoder(self.embed(inputs_BT), masks.causal(segments_BT, prefix_BT), dropout_key)

    def predict(self, batch: Mapping[str, jax.Array], dropout_key=None) -> Predictions:
        """Returns the predictions for features from `data.converters.decoder_only` or `prefix_lm`."""
        hidden_BTD = self.hidden(
            batch["decoder_input_tokens"],
            batch.get("decoder_causal_attention"),
            batch.get("decoder_segment_ids"),
            dropout_key,
        )
        kernel_DV = self.output_kernel()
        return Predictions(hidden_BTD, kernel_DV, batch["decoder_target_tokens"], batch["decoder_loss_weights"])

    def init_cache(self, prompts_BP, num_steps: int, num_beams: int = 1, *, lengths_B=None, prefix_BP=None) -> Cache:
        """Returns a cache of all prompt tokens but the last, which the first decoding step processes.

        Args:
          prompts_BP: `cfg.start_id` and then the prompt's ids, as in `inputs_BT`; shorter ones are padded on the LEFT.
          num_steps: maximum number of new tokens for each of the `num_beams` beams per example.
          lengths_B: prompt lengths, including the leading start id but not padding; None if no prompt is padded.
          prefix_BP: 1 on the prefix, as in `__call__`.
        """
        B, P = prompts_BP.shape
        # The last token is processed here only if the bidirectional prefix attends to it.
        read_BP = prompts_BP[:, :-1] if prefix_BP is None else prompts_BP
        visible_BP = jnp.ones((B, P - 1), bool)
        visible = masks.causal(prefix_BT=prefix_BP)
        if lengths_B is not None:
            # Only differences between positions matter, so padding on the left changes nothing.
            seen_BP = jnp.arange(P)[None, :] >= P - lengths_B[:, None]
            visible_BP = seen_BP[:, :-1]
            visible = dataclasses.replace(visible, keys_BS=seen_BP[:, : read_BP.shape[1]].astype(jnp.int32))
        prompts = no_prompts(self.cfg, B)
        if P > 1:
            read = self.decoder.read(self.embed(read_BP), visible)
            prompts = tuple(KeysValues(*(array[..., : P - 1] for array in layer)) for layer in read)
        return with_room(prompts, visible_BP, num_steps, num_beams)

    def decode_step(self, tokens_BK, cache: Cache) -> tuple[jax.Array, Cache]:
        """Returns logits_BKV of the next tokens, and the cache after `tokens_BK`, one token per beam."""
        hidden_BKD, cache = self.decoder.step(self.embed(tokens_BK), cache)
        return self.logits(hidden_BKD), cache
