# SPDX-License-Identifier: Apache-2.0
"""What each query of a model attends to, layer by layer and head by head, from the forward pass that predicts.

The stacks' own layers keep no attention weights, since training never reads them. Here the parts of those layers are
put together once more, with the weights as a second result.

Shape letters: L layers, B batch, S input tokens, T target tokens, N heads, D model, V vocabulary, C labels; 1 where all
share.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import nnx

from t5x_lite.model import masks
from t5x_lite.model.attention import Attention
from t5x_lite.model.decoder import Decoder
from t5x_lite.model.encoder import Encoder, MaskedLM, SequenceClassifier, TokenClassifier, mean_of_tokens
from t5x_lite.model.kernels.attention import attention_weights
from t5x_lite.model.stacks import DecoderStack, SelfAttentionStack, layer_biases
from t5x_lite.model.transformer import T5


class AttentionMaps(NamedTuple):
    """Attention weights, float32: over its keys, the last dimension, each query's sum to 1.

    What a query may not see has weight 0. A query that may see nothing, as in a row of padding alone, has the same
    weight everywhere.
    """

    logits: jax.Array  # what the model itself returns
    encoder_LBNSS: jax.Array | None = None  # None where there is no encoder
    decoder_LBNTT: jax.Array | None = None  # None where there is no decoder
    cross_LBNTS: jax.Array | None = None  # targets to inputs; None unless there are both


def attention_maps(model: nnx.Module, inputs: jax.Array, second: jax.Array | None = None) -> AttentionMaps:
    """Runs a model without dropout and returns its logits with all attention weights; can be jitted.

    Args:
      model: of any class of `model.architectures`.
      inputs: ids, [B, S], or of a `Decoder` [B, T]: the first argument of the model's own call.
      second: its second argument: `decoder_inputs_BT` of a `T5`, for which it has to be given; `prefix_BT` of a
        `Decoder`, or None. The other models have no use for one.

    Raises:
      ValueError: if a `T5` has no `decoder_inputs_BT`.
    """
    match model:
        case T5():
            if second is None:
                raise ValueError("decoder_inputs_BT is None: a T5 attends to inputs with its targets, so give both")
            return _encoder_decoder(model, inputs, second)
        case Decoder():
            return _decoder_only(model, inputs, second)
        case MaskedLM():
            encoded_BSD, weights_LBNSS = _encoded(model.encoder, inputs)
            return AttentionMaps(model.logits(encoded_BSD), encoder_LBNSS=weights_LBNSS)
        case SequenceClassifier():
            encoded_BSD, weights_LBNSS = _encoded(model.encoder, inputs)
            logits_BC = model.classifier(mean_of_tokens(encoded_BSD, inputs))[:, 0]
            return AttentionMaps(logits_BC, encoder_LBNSS=weights_LBNSS)
        case TokenClassifier():
            encoded_BSD, weights_LBNSS = _encoded(model.encoder, inputs)
            return AttentionMaps(model.classifier(encoded_BSD), encoder_LBNSS=weights_LBNSS)
        case _:
            raise ValueError(
                f"a {type(model).__name__} has no attention maps: use T5, Decoder or an encoder with a head"
            )


def _encoder_decoder(model: T5, inputs_BS: jax.Array, decoder_inputs_BT: jax.Array) -> AttentionMaps:
    encoded_BSD, encoder_LBNSS = _encoded(model, inputs_BS)
    sees = masks.causal_mask(decoder_inputs_BT.shape[1]), masks.padding_mask(inputs_BS)
    hidden_BTD, (decoder_LBNTT, cross_LBNTS) = _decoded(
        model.decoder, model.embed(decoder_inputs_BT), encoded_BSD, *sees
    )
    return AttentionMaps(model.logits(hidden_BTD), encoder_LBNSS, decoder_LBNTT, cross_LBNTS)


def _decoder_only(model: Decoder, inputs_BT: jax.Array, prefix_BT: jax.Array | None) -> AttentionMaps:
    mask = masks.causal_mask(inputs_BT.shape[1])
    if prefix_BT is not None:
        mask = mask | masks.prefix_mask(prefix_BT)
    hidden_BTD, weights_LBNTT = _self_attended(model.decoder, model.embed(inputs_BT), mask)
    return AttentionMaps(model.logits(hidden_BTD), decoder_LBNTT=weights_LBNTT)


def _encoded(model: T5 | Encoder, inputs_BS: jax.Array) -> tuple[jax.Array, jax.Array]:
    return _self_attended(model.encoder, model.embed(inputs_BS), masks.padding_mask(inputs_BS))


def _self_attended(stack: SelfAttentionStack, x_BTD, mask_B1TT) -> tuple[jax.Array, jax.Array]:
    """Returns what `stack.run` does, and weights_LBNTT."""
    tables_L, bias_1NTT = _biases(stack, x_BTD.shape[1])

    def layer(x_BTD, of_layer):
        block, table = of_layer
        normed_BTD = block.attention_norm(x_BTD)
        attended_BTD, weights_BNTT = _attended(block.attention, normed_BTD, normed_BTD, bias_1NTT(table), mask_B1TT)
        x_BTD = x_BTD + attended_BTD
        return x_BTD + block.mlp(block.mlp_norm(x_BTD)), weights_BNTT

    x_BTD, weights_LBNTT = jax.lax.scan(layer, x_BTD, (stack.blocks, tables_L))
    return stack.final_norm(x_BTD), weights_LBNTT


def _decoded(stack: DecoderStack, x_BTD, encoded_BSD, self_mask_B1TT, cross_mask_B1TS) -> tuple[jax.Array, tuple]:
    """Returns what the stack does, and (weights_LBNTT, weights_LBNTS)."""
    tables_L, bias_1NTT = _biases(stack, x_BTD.shape[1])

    def layer(x_BTD, of_layer):
        block, table = of_layer
        normed_BTD = block.self_attention_norm(x_BTD)
        attended_BTD, self_BNTT = _attended(
            block.self_attention, normed_BTD, normed_BTD, bias_1NTT(table), self_mask_B1TT
        )
        x_BTD = x_BTD + attended_BTD
        normed_BTD = block.cross_attention_norm(x_BTD)
        attended_BTD, cross_BNTS = _attended(block.cross_attention, normed_BTD, encoded_BSD, None, cross_mask_B1TS)
        x_BTD = x_BTD + attended_BTD
        return x_BTD + block.mlp(block.mlp_norm(x_BTD)), (self_BNTT, cross_BNTS)

    x_BTD, weights = jax.lax.scan(layer, x_BTD, (stack.blocks, tables_L))
    return stack.final_norm(x_BTD), weights


def _biases(stack: SelfAttentionStack | DecoderStack, length: int) -> tuple[Any, Callable[[Any], jax.Array]]:
    return layer_biases(stack.position_bias, lambda table: table(length, length))


def _attended(attention: Attention, x_BTD, y_BSD, bias_1NTS, mask_B1TS) -> tuple[jax.Array, jax.Array]:
    """Returns what the attention does, [B, T, D], and its weights_BNTS."""
    q_BTNH = attention.project_queries(x_BTD)
    k_BSNH, v_BSNH = attention.project_keys_values(y_BSD)
    weights_BNTS = attention_weights(q_BTNH, k_BSNH, bias_1NTS, mask_B1TS)
    return attention.attend(q_BTNH, k_BSNH, v_BSNH, bias_1NTS, mask_B1TS), weights_BNTS
