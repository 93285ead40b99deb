# SPDX-License-Identifier: Apache-2.0
"""The encoder, and encoder-only models: masked LM, sequence classifier and token classifier.

Shape letters: B batch, S tokens, D model, V vocabulary, C labels.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from t5x_lite.config import ModelConfig
from t5x_lite.model import masks
from t5x_lite.model.blocks import split_key
from t5x_lite.model.embedding import LMHead, Predictions, TokenEmbedding
from t5x_lite.model.kernels.projection import project
from t5x_lite.model.layers import dropout, weight
from t5x_lite.model.stacks import EncoderStack


class Encoder(TokenEmbedding):
    """T5's encoder, with the same parameter names as in `T5`.

        model = Encoder(presets["t5_1_1_small"], rngs=nnx.Rngs(0))
        encoded_BSD = model(inputs_BS)

    The id `cfg.pad_id`, 0 in T5, is padding, which is never attended to.

    Args:
      cfg: one of `presets` or your own configuration; `num_decoder_layers` is ignored.
      rngs: PRNG keys for the initial parameters, drawn from T5's distributions.

    Raises:
      ValueError: if `cfg.remat` names a tensor that is not in `remat.REMAT_TENSORS`.
    """

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        super().__init__(cfg, rngs=rngs)
        self.encoder = EncoderStack(cfg, rngs=rngs)

    def __call__(self, inputs_BS, segments_BS=None, dropout_key=None) -> jax.Array:
        """Encodes token ids.

        Args:
          inputs_BS: input ids, `cfg.pad_id` on padding.
          segments_BS: example numbers of packed rows, 0 on padding.
          dropout_key: PRNG key for dropout; None in evaluation.

        Returns:
          encoded_BSD in the compute dtype.
        """
        visible = masks.padded(inputs_BS, self.cfg.pad_id, segments_BS)
        return self.encoder(self.embed(inputs_BS), visible, dropout_key)


class MaskedLM(LMHead):
    """Predicts the tokens that `data.masked_lm.encoder_only` masks; arguments as for `Encoder`."""

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        self.encoder = Encoder(cfg, rngs=rngs)
        self.init_logits_kernel(rngs)

    @property
    def embedding(self) -> nnx.Param:
        """The encoder's embedding."""
        return self.encoder.embedding

    def __call__(self, inputs_BS, segments_BS=None, dropout_key=None) -> jax.Array:
        """Returns logits_BSV, float32."""
        return self.logits(self.hidden(inputs_BS, segments_BS, dropout_key))

    def hidden(self, inputs_BS, segments_BS=None, dropout_key=None) -> jax.Array:
        """Returns hidden_BSD, the input of `logits` and the loss; arguments as in `Encoder.__call__`."""
        return self.encoder(inputs_BS, segments_BS, dropout_key)

    def predict(self, batch: Mapping[str, jax.Array], dropout_key=None) -> Predictions:
        """Returns the predictions for features from `data.masked_lm.encoder_only`."""
        hidden_BSD = self.hidden(batch["encoder_input_tokens"], batch.get("encoder_segment_ids"), dropout_key)
        kernel_DV = self.output_kernel()
        return Predictions(hidden_BSD, kernel_DV, batch["encoder_target_tokens"], batch["encoder_loss_weights"])


class _Classifier(nnx.Module):
    """An encoder with a head for `num_labels` labels, 1 for regression."""

    def __init__(self, cfg: ModelConfig, num_labels: int, *, rngs: nnx.Rngs):
        self.cfg = cfg
        self.encoder = Encoder(cfg, rngs=rngs)
        self.classifier = LabelHead(cfg, num_labels, rngs=rngs)


class SequenceClassifier(_Classifier):
    """Predicts a label per sequence, or a number if `num_labels` is 1, from the mean of its encoded tokens."""

    def __call__(self, inputs_BS, dropout_key=None) -> jax.Array:
        """Returns logits_BC, float32, for one sequence per row."""
        encode_key, classify_key = split_key(dropout_key, 2)
        return self.classifier(self.pooled(inputs_BS, encode_key), classify_key)[:, 0]

    def pooled(self, inputs_BS, dropout_key=None) -> jax.Array:
        """Returns pooled_B1D, the `mean_of_tokens` of the encoded inputs."""
        return mean_of_tokens(self.encoder(inputs_BS, None, dropout_key), inputs_BS, self.cfg.pad_id)

    def predict(self, batch: Mapping[str, jax.Array], dropout_key=None) -> Predictions:
        """Returns the predictions for features from `data.labels.SequenceLabels`."""
        encode_key, classify_key = split_key(dropout_key, 2)
        return self.classifier.predict(self.pooled(batch["encoder_input_tokens"], encode_key), batch, classify_key)


def mean_of_tokens(encoded_BSD, inputs_BS, pad_id: int) -> jax.Array:
    """Returns pooled_B1D, float32: the mean over all tokens except padding."""
    is_token_BS1 = (inputs_BS != pad_id)[..., None].astype(jnp.float32)
    num_tokens_B11 = jnp.maximum(jnp.sum(is_token_BS1, axis=1, keepdims=True), 1.0)
    return jnp.sum(encoded_BSD.astype(jnp.float32) * is_token_BS1, axis=1, keepdims=True) / num_tokens_B11


class TokenClassifier(_Classifier):
    """Predicts one of `num_labels` labels per token, like `T5ForTokenClassification` of transformers."""

    def __call__(self, inputs_BS, segments_BS=None, dropout_key=None) -> jax.Array:
        """Returns logits_BSC, float32; arguments as in `Encoder.__call__`."""
        encode_key, classify_key = split_key(dropout_key, 2)
        return self.classifier(self.encoder(inputs_BS, segments_BS, encode_key), classify_key)

    def predict(self, batch: Mapping[str, jax.Array], dropout_key=None) -> Predictions:
        """Returns the predictions for features from `data.labels.TokenLabels`."""
        encode_key, classify_key = split_key(dropout_key, 2)
        encoded_BSD = self.encoder(batch["encoder_input_tokens"], None, encode_key)
        return self.classifier.predict(encoded_BSD, batch, classify_key)


class LabelHead(nnx.Module):
    """Dropout and a dense layer with bias, in float32."""

    def __init__(self, cfg: ModelConfig, num_labels: int, *, rngs: nnx.Rngs):
        if num_labels < 1:
            raise ValueError(f"num_labels is {num_labels}: use a positive number")
        D, C = cfg.emb_dim, num_labels
        self.cfg = cfg
        self.kernel = weight(
            rngs.params(), (D, C), ("embed", "labels"), stddev=D**-0.5, distribution="truncated_normal"
        )
        self.bias = nnx.Param(jnp.zeros((C,)), axes=("labels",))

    def __call__(self, x_BSD: jax.Array, dropout_key: jax.Array | None = None) -> jax.Array:
        """Returns logits_BSC."""
        x_BSD = self._dropped(x_BSD, dropout_key)
        return project(x_BSD, self.kernel[...], ("embed", "labels")) + self.bias[...][None, None]

    def predict(self, x_BSD: jax.Array, batch: Mapping[str, jax.Array], dropout_key=None) -> Predictions:
        """Returns the predictions of the batch's `target_labels`; the last row of their kernel is the bias."""
        x_BSD = self._dropped(x_BSD, dropout_key)
        with_one = jnp.concatenate([x_BSD, jnp.ones_like(x_BSD[..., :1])], axis=-1)
        kernel = jnp.concatenate([self.kernel[...], self.bias[...][None]])
        return Predictions(with_one, kernel, batch["target_labels"], batch["label_weights"])

    def _dropped(self, x_BSD: jax.Array, dropout_key: jax.Array | None) -> jax.Array:
        return dropout(x_BSD.astype(jnp.float32), self.cfg.dropout_rate, dropout_key, shared_dim=None)
