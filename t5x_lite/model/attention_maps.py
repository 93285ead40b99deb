# SPDX-License-Identifier: Apache-2.0
"""The attention weights of a forward pass, per layer and head.

The layers do not return their weights, which training never needs, so this module repeats their forward passes.

Shape letters: L layers, B batch, S input tokens, T target tokens, N heads, D model; 1 if broadcast.
"""

from typing import NamedTuple

import jax
from flax import nnx

from t5x_lite.model import masks
from t5x_lite.model.attention import Attention
from t5x_lite.model.decoder import Decoder
from t5x_lite.model.encoder import Encoder, MaskedLM, SequenceClassifier, TokenClassifier, mean_of_tokens
from t5x_lite.model.kernels.reference import attention_weights
from t5x_lite.model.stacks import DecoderStack, Stack, layer_biases
from t5x_lite.model.transformer import T5


class AttentionMaps(NamedTuple):
    """Logits, and float32 attention weights that sum to 1 over the keys, the last dimension.

    Masked keys have weight 0. If all keys are masked, as in a row of padding, the weights are uniform.
    """

    logits: jax.Array  # as the model returns them
    encoder_LBNSS: jax.Array | None = None  # None without an encoder
    decoder_LBNTT: jax.Array | None = None  # None without a decoder
    cross_LBNTS: jax.Array | None = None  # from targets to inputs; None unless the model has both


def attention_maps(model: nnx.Module, inputs: jax.Array, second: jax.Array | None = None) -> AttentionMaps:
    """Returns the logits and attention weights of a forward pass without dropout; can be jitted.

    Args:
      model: a `T5`, `Decoder`, `MaskedLM`, `SequenceClassifier` or `TokenClassifier`.
      inputs: token ids: `inputs_BS`, or `inputs_BT` of a `Decoder`.
      second: `decoder_inputs_BT` of a `T5`, which requires it, or `prefix_BT` of a `Decoder`; otherwise ignored.

    Raises:
      ValueError: if a `T5` has no `decoder_inputs_BT`, or the model's class is not supported.
    """
    match model:
        case T5():
            if second is None:
                raise ValueError("decoder_inputs_BT is None: pass the targets, shifted right, to a T5")
            return _encoder_decoder(model, inputs, second)
        case Decoder():
            return _decoder_only(model, inputs, second)
        case MaskedLM() | SequenceClassifier() | TokenClassifier():
            encoded_BSD, weights_LBNSS = _encode(model.encoder, inputs)
            return AttentionMaps(_encoder_logits(model, encoded_BSD, inputs), encoder_LBNSS=weights_LBNSS)
        case _:
            raise ValueError(f"attention maps of {type(model).__name__} are not supported")


def _encoder_logits(model: MaskedLM | SequenceClassifier | TokenClassifier, encoded_BSD, inputs_BS) -> jax.Array:
    if isinstance(model, MaskedLM):
        return model.logits(encoded_BSD)
    if isinstance(model, TokenClassifier):
        return model.classifier(encoded_BSD)
    return model.classifier(mean_of_tokens(encoded_BSD, inputs_BS, model.cfg.pad_id))[:, 0]


def _encoder_decoder(model: T5, inputs_BS: jax.Array, decoder_inputs_BT: jax.Array) -> AttentionMaps:
    encoded_BSD, encoder_LBNSS = _encode(model, inputs_BS)
    self_mask, cross_mask = (
        masks.causal_mask(decoder_inputs_BT.shape[1]),
        masks.padding_mask(inputs_BS, model.cfg.pad_id),
    )
    x_BTD = model.embed(decoder_inputs_BT)
    hidden_BTD, (decoder_LBNTT, cross_LBNTS) = _run_decoder(model.decoder, x_BTD, encoded_BSD, self_mask, cross_mask)
    return AttentionMaps(model.logits(hidden_BTD), encoder_LBNSS, decoder_LBNTT, cross_LBNTS)


def _decoder_only(model: Decoder, inputs_BT: jax.Array, prefix_BT: jax.Array | None) -> AttentionMaps:
    mask = masks.causal_mask(inputs_BT.shape[1])
    if prefix_BT is not None:
        mask = mask | masks.prefix_mask(prefix_BT)
    hidden_BTD, weights_LBNTT = _run(model.decoder, model.embed(inputs_BT), mask)
    return AttentionMaps(model.logits(hidden_BTD), decoder_LBNTT=weights_LBNTT)


def _encode(model: T5 | Encoder, inputs_BS: jax.Array) -> tuple[jax.Array, jax.Array]:
    return _run(model.encoder, model.embed(inputs_BS), masks.padding_mask(inputs_BS, model.cfg.pad_id))


def _run(stack: Stack, x_BTD, mask_B1TT) -> tuple[jax.Array, jax.Array]:
    """Returns the output of a stack without cross-attention, and weights_LBNTT."""
    T = x_BTD.shape[1]
    tables_L, bias_1NTT = layer_biases(stack.position_bias, lambda table: table(T, T))

    def layer(x_BTD, scanned):
        block, table = scanned
        normed_BTD = block.attention_norm(x_BTD)
        attended_BTD, weights_BNTT = _attend(block.attention, normed_BTD, normed_BTD, bias_1NTT(table), mask_B1TT)
        x_BTD = x_BTD + attended_BTD
        return x_BTD + block.mlp(block.mlp_norm(x_BTD)), weights_BNTT

    x_BTD, weights_LBNTT = jax.lax.scan(layer, x_BTD, (stack.blocks, tables_L))
    return stack.final_norm(x_BTD), weights_LBNTT


def _run_decoder(stack: DecoderStack, x_BTD, encoded_BSD, self_mask_B1TT, cross_mask_B1TS) -> tuple[jax.Array, tuple]:
    """Returns hidden_BTD and (weights_LBNTT, weights_LBNTS)."""
    T = x_BTD.shape[1]
    tables_L, bias_1NTT = layer_biases(stack.position_bias, lambda table: table(T, T))

    def layer(x_BTD, scanned):
        block, table = scanned
        normed_BTD = block.self_attention_norm(x_BTD)
        attended_BTD, self_BNTT = _attend(
            block.self_attention, normed_BTD, normed_BTD, bias_1NTT(table), self_mask_B1TT
        )
        x_BTD = x_BTD + attended_BTD
        normed_BTD = block.cross_attention_norm(x_BTD)
        attended_BTD, cross_BNTS = _attend(block.cross_attention, normed_BTD, encoded_BSD, None, cross_mask_B1TS)
        x_BTD = x_BTD + attended_BTD
        return x_BTD + block.mlp(block.mlp_norm(x_BTD)), (self_BNTT, cross_BNTS)

    x_BTD, weights = jax.lax.scan(layer, x_BTD, (stack.blocks, tables_L))
    return stack.final_norm(x_BTD), weights


def _attend(attention: Attention, x_BTD, y_BSD, bias_1NTS, mask_B1TS) -> tuple[jax.Array, jax.Array]:
    """Returns the output of an attention layer, [B, T, D], and weights_BNTS."""
    q_BTA, (k_BSA, v_BSA) = attention.queries(x_BTD), attention.keys_values(y_BSD)
    weights_BNTS = attention_weights(attention.split(q_BTA), attention.split(k_BSA), bias_1NTS, mask_B1TS)
    return attention.attend(q_BTA, (k_BSA, v_BSA), bias_1NTS, mask_B1TS), weights_BNTS
