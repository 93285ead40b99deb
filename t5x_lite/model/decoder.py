# SPDX-License-Identifier: Apache-2.0
"""The decoder alone: a language model, causal or with a prefix that is read both ways.

Shape letters: B batch, T tokens, P tokens of a prompt, K beams, D model, V vocabulary.

Source: T5X `examples/decoder_only`.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from t5x_lite.config import ModelConfig
from t5x_lite.model import masks
from t5x_lite.model.cache import Cache, KeysValues, no_prompts, with_room
from t5x_lite.model.embedding import Predictions, Predictor, Reader
from t5x_lite.model.stacks import DecoderOnlyStack


class Decoder(Reader, Predictor):
    """A T5 of `cfg.num_decoder_layers` blocks of self-attention, with no encoder.

        model = Decoder(presets["t5_1_1_small"], rngs=nnx.Rngs(0))
        logits_BTV = model(inputs_BT)

    It reads what `data.converters.decoder_only` and `prefix_lm` make: targets shifted right by one, 0 first.

    Args:
      cfg: the architecture, one of `presets` or your own; the number of encoder layers means nothing here.
      rngs: the source of the initial parameters, distributed as T5 published them.

    Raises:
      ValueError: if `cfg.remat` names a tensor that is not one of `stacks.REMAT_TENSORS`.
    """

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        super().__init__(cfg, rngs=rngs)
        self.decoder = DecoderOnlyStack(cfg, rngs=rngs)
        self.init_logits_kernel(rngs)

    def __call__(self, inputs_BT, prefix_BT=None, segments_BT=None, dropout_key=None) -> jax.Array:
        """Predicts each token from those before it and from the whole prefix.

        Args:
          inputs_BT: token ids shifted right by one, 0 first. Padding comes last.
          prefix_BT: `decoder_causal_attention`: 1 on the prefix, whose tokens see each other both ways; None has none.
          segments_BT: for packed rows, the number of the example each token belongs to, 0 on padding.
          dropout_key: PRNG key for dropout; None in evaluation.

        Returns:
          logits_BTV, float32.
        """
        return self.logits(self.hidden(inputs_BT, prefix_BT, segments_BT, dropout_key))

    def hidden(self, inputs_BT, prefix_BT=None, segments_BT=None, dropout_key=None) -> jax.Array:
        """Returns hidden_BTD, of which `logits` or the loss makes predictions; arguments as in `__call__`."""
        # Id 0 starts every example and is seen; padding comes after all that is predicted, where nothing looks.
        mask = _attention_mask(inputs_BT.shape[1], prefix_BT)
        if segments_BT is not None:
            mask = masks.combine(mask, masks.segment_mask(segments_BT, segments_BT))
        return self.decoder(self.embed(inputs_BT), mask, dropout_key)

    def predict(self, batch: Mapping[str, jax.Array], dropout_key=None) -> Predictions:
        """Returns the predictions for a batch of `data.converters.decoder_only`'s or `prefix_lm`'s features."""
        hidden_BTD = self.hidden(
            batch["decoder_input_tokens"],
            batch.get("decoder_causal_attention"),
            batch.get("decoder_segment_ids"),
            dropout_key,
        )
        kernel_DV = self.output_kernel()
        return Predictions(hidden_BTD, kernel_DV, batch["decoder_target_tokens"], batch["decoder_loss_weights"])

    def init_cache(self, prompts_BP, num_steps: int, num_beams: int = 1, *, lengths_B=None, prefix_BP=None) -> Cache:
        """Reads prompts, all but the last token of each, with which decoding begins.

        Args:
          prompts_BP: 0 and then the prompt's ids, as at the start of `inputs_BT`; shorter ones padded on the LEFT.
          num_steps: how many tokens of each beam there is to be room for.
          num_beams: that decode together.
          lengths_B: how many of the P are not padding, counted from the right; None has no padding.
          prefix_BP: 1 on the prefix, as in `__call__`.
        """
        B, P = prompts_BP.shape
        # The last token decodes the first new one. It is read here only by a prefix, which sees it.
        read_BP = prompts_BP[:, :-1] if prefix_BP is None else prompts_BP
        visible_BP = jnp.ones((B, P - 1), bool)
        mask = _attention_mask(read_BP.shape[1], prefix_BP)
        if lengths_B is not None:
            # Positions count only by their differences, so that padding on the left moves nothing.
            seen_BP = jnp.arange(P)[None, :] >= P - lengths_B[:, None]
            visible_BP = seen_BP[:, :-1]
            mask = mask & seen_BP[:, None, None, : read_BP.shape[1]]
        prompts = no_prompts(self.cfg, B)
        if P > 1:
            read = self.decoder.read(self.embed(read_BP), mask)
            prompts = tuple(KeysValues(*(array[..., : P - 1] for array in layer)) for layer in read)
        return with_room(prompts, visible_BP, num_steps, num_beams)

    def decode_step(self, tokens_BK, cache: Cache) -> tuple[jax.Array, Cache]:
        """Returns logits_BKV of the tokens after `tokens_BK`, one of each beam, and the cache that has seen them."""
        hidden_BKD, cache = self.decoder.step(self.embed(tokens_BK), cache)
        return self.logits(hidden_BKD), cache


def _attention_mask(length: int, prefix_BT: jax.Array | None) -> jax.Array:
    causal_11TT = masks.causal_mask(length)
    return causal_11TT if prefix_BT is None else causal_11TT | masks.prefix_mask(prefix_BT)
