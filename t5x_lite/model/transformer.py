# SPDX-License-Identifier: Apache-2.0
"""The T5 encoder-decoder: ids in, float32 logits out.

Embed the inputs and encode them; embed the targets, shifted right, and decode them against the encoding; project
to the vocabulary. Each stack is one block whose parameters have a leading dimension L, scanned over, so that
compile time does not grow with depth.

Shape letters: L layers, B batch, S input tokens, T target tokens, D model, N heads, V vocabulary.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from t5x_lite.config import ModelConfig
from t5x_lite.model import masks
from t5x_lite.model.blocks import DecoderBlock, EncoderBlock, split_key
from t5x_lite.model.cache import Cache, LayerCache, insert
from t5x_lite.model.layers import RMSNorm, dropout, weight
from t5x_lite.model.position import RelativePositionBias

# The tensors of a block that the backward pass may keep, by the names given to them where they are computed.
REMAT_TENSORS = ("query", "key", "value", "attention_out", "mlp_wi_0", "mlp_wi_1")


def shift_right(targets_BT: jax.Array) -> jax.Array:
    """Returns what the decoder reads to predict the targets: padding first, then all but the last of them."""
    return jnp.pad(targets_BT[:, :-1], ((0, 0), (1, 0)))


def rematerialized(layer: Callable, remat: str | tuple[str, ...]) -> Callable:
    """Wraps a scanned layer so that its backward pass recomputes all but the tensors that `remat` keeps.

    Args:
      layer: the body of a scan.
      remat: `none` keeps everything; `full` keeps each layer's input alone; `minimal` keeps the results of the
        projections, so that only attention weights and element-wise work are computed again; a tuple names the
        tensors to keep, of REMAT_TENSORS.
    """
    if remat == "none":
        return layer
    kept = {"minimal": REMAT_TENSORS, "full": ()}.get(remat, remat) if isinstance(remat, str) else remat
    policy = jax.checkpoint_policies.save_only_these_names(*kept)
    return jax.checkpoint(layer, policy=policy, prevent_cse=False)


def stacked(block: Callable, num_layers: int, rngs: nnx.Rngs):
    """Returns one block whose parameters have a leading dimension of `num_layers`."""
    return jax.vmap(lambda key: block(rngs=nnx.Rngs(key)))(jax.random.split(rngs.params(), num_layers))


class Encoder(nnx.Module):
    """Turns embedded inputs into a vector a token that has seen the whole input."""

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        self.position_bias = RelativePositionBias(cfg, bidirectional=True, rngs=rngs)
        self.blocks = stacked(lambda rngs: EncoderBlock(cfg, rngs=rngs), cfg.num_encoder_layers, rngs)
        self.final_norm = RMSNorm(cfg.emb_dim)

    def __call__(self, x_BSD, mask_B1SS, dropout_key=None) -> jax.Array:
        """Returns encoded_BSD."""
        before, within, after = split_key(dropout_key, 3)
        bias_1NSS = self.position_bias(x_BSD.shape[1], x_BSD.shape[1])
        x_BSD = dropout(x_BSD, self.cfg.dropout_rate, before)

        def layer(x_BSD, block_and_key):
            block, key = block_and_key
            return block(x_BSD, bias_1NSS, mask_B1SS, key), None

        keys_L = None if within is None else jax.random.split(within, self.cfg.num_encoder_layers)
        x_BSD, _ = jax.lax.scan(rematerialized(layer, self.cfg.remat), x_BSD, (self.blocks, keys_L))
        return dropout(self.final_norm(x_BSD), self.cfg.dropout_rate, after, shared_dim=None)


class Decoder(nnx.Module):
    """Turns embedded, shifted targets and encoded inputs into a vector a target token."""

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        self.position_bias = RelativePositionBias(cfg, bidirectional=False, rngs=rngs)
        self.blocks = stacked(lambda rngs: DecoderBlock(cfg, rngs=rngs), cfg.num_decoder_layers, rngs)
        self.final_norm = RMSNorm(cfg.emb_dim)

    def __call__(self, x_BTD, encoded_BSD, self_mask_B1TT, cross_mask_B1TS, dropout_key=None) -> jax.Array:
        """Returns hidden_BTD, ready for the projection to the vocabulary."""
        before, within, after = split_key(dropout_key, 3)
        bias_1NTT = self.position_bias(x_BTD.shape[1], x_BTD.shape[1])
        x_BTD = dropout(x_BTD, self.cfg.dropout_rate, before)

        def layer(x_BTD, block_and_key):
            block, key = block_and_key
            return block(x_BTD, encoded_BSD, bias_1NTT, (self_mask_B1TT, cross_mask_B1TS), key), None

        keys_L = None if within is None else jax.random.split(within, self.cfg.num_decoder_layers)
        x_BTD, _ = jax.lax.scan(rematerialized(layer, self.cfg.remat), x_BTD, (self.blocks, keys_L))
        return dropout(self.final_norm(x_BTD), self.cfg.dropout_rate, after)

    def init_cache(self, encoded_BSD, inputs_mask_B11S, max_length: int) -> Cache:
        """Projects the encoding to every layer's cross-attention keys and values, once for all steps."""

        def layer(_, block):
            return None, block.cross_attention.project_keys_values(encoded_BSD)

        _, (cross_keys, cross_values) = jax.lax.scan(layer, None, self.blocks)
        L, B, _, N, H = cross_keys.shape
        empty_LBTNH = jnp.zeros((L, B, max_length, N, H), cross_keys.dtype)
        layers = LayerCache(empty_LBTNH, empty_LBTNH, cross_keys, cross_values)
        return Cache(layers, inputs_mask_B11S, jnp.zeros((), jnp.int32))

    def step(self, x_B1D, cache: Cache) -> tuple[jax.Array, Cache]:
        """Decodes the token at `cache.position`; returns hidden_B1D and the cache that has seen it."""
        max_length = cache.layers.self_keys.shape[2]
        bias_1N1T = self.position_bias.row(cache.position, max_length)
        decoded_111T = (jnp.arange(max_length) <= cache.position)[None, None, None, :]

        def layer(x_B1D, block_and_cache):
            block, layer_cache = block_and_cache
            return block.step(x_B1D, layer_cache, cache.position, bias_1N1T, (decoded_111T, cache.inputs_mask_B11S))

        x_B1D, (keys_LB1NH, values_LB1NH) = jax.lax.scan(layer, x_B1D, (self.blocks, cache.layers))
        layers = cache.layers._replace(
            self_keys=insert(cache.layers.self_keys, keys_LB1NH, cache.position),
            self_values=insert(cache.layers.self_values, values_LB1NH, cache.position),
        )
        return self.final_norm(x_B1D), Cache(layers, cache.inputs_mask_B11S, cache.position + 1)


class T5(nnx.Module):
    """The T5 encoder-decoder.

        model = T5(presets["t5_1_1_small"], rngs=nnx.Rngs(0))
        logits_BTV = model(inputs_BS, decoder_inputs_BT)

    Token id 0 is padding: it is never attended to as an input, and starts the decoder's inputs.

    Args:
      cfg: the architecture, one of `presets` or your own.
      rngs: the source of the initial parameters, distributed as T5 published them.

    Raises:
      ValueError: if `cfg.remat` names a tensor that is not one of REMAT_TENSORS.
    """

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        D, V = cfg.emb_dim, cfg.vocab_size
        if not isinstance(cfg.remat, str) and (unknown := set(cfg.remat) - set(REMAT_TENSORS)):
            raise ValueError(f"train.remat names {sorted(unknown)}: use some of {', '.join(REMAT_TENSORS)}")
        self.cfg = cfg
        self.embedding = weight(rngs.params(), (V, D), ("vocab", "embed"), stddev=1.0)
        self.encoder = Encoder(cfg, rngs=rngs)
        self.decoder = Decoder(cfg, rngs=rngs)
        if not cfg.tie_embeddings:
            self.logits_kernel = weight(
                rngs.params(), (D, V), ("embed", "vocab"), stddev=D**-0.5, law="truncated_normal"
            )

    def __call__(
        self, inputs_BS, decoder_inputs_BT, inputs_segments_BS=None, targets_segments_BT=None, dropout_key=None
    ) -> jax.Array:
        """Predicts each target token from the inputs and the targets before it.

        Args:
          inputs_BS: input ids, 0 on padding.
          decoder_inputs_BT: target ids shifted right by one, 0 first.
          inputs_segments_BS: for packed rows, the number of the example each input belongs to, 0 on padding.
          targets_segments_BT: the same for the targets. Give both or neither.
          dropout_key: PRNG key for dropout; None in evaluation.

        Returns:
          logits_BTV, float32.
        """
        hidden_BTD = self.hidden(inputs_BS, decoder_inputs_BT, inputs_segments_BS, targets_segments_BT, dropout_key)
        return self.logits(hidden_BTD)

    def hidden(
        self, inputs_BS, decoder_inputs_BT, inputs_segments_BS=None, targets_segments_BT=None, dropout_key=None
    ) -> jax.Array:
        """Returns hidden_BTD, of which `logits` or the loss makes predictions; arguments as in `__call__`."""
        if (inputs_segments_BS is None) != (targets_segments_BT is None):
            raise ValueError("inputs_segments and targets_segments belong together: give both or neither")
        encode_key, decode_key = split_key(dropout_key, 2)
        encoded_BSD = self.encode(inputs_BS, inputs_segments_BS, encode_key)
        self_mask, cross_mask = masks.causal_mask(decoder_inputs_BT.shape[1]), masks.padding_mask(inputs_BS)
        if inputs_segments_BS is not None and targets_segments_BT is not None:
            self_mask = masks.combine(self_mask, masks.segment_mask(targets_segments_BT, targets_segments_BT))
            cross_mask = masks.segment_mask(targets_segments_BT, inputs_segments_BS)
        return self.decoder(self.embed(decoder_inputs_BT), encoded_BSD, self_mask, cross_mask, decode_key)

    def encode(self, inputs_BS, inputs_segments_BS=None, dropout_key=None) -> jax.Array:
        """Returns encoded_BSD of input ids."""
        mask = masks.padding_mask(inputs_BS)
        if inputs_segments_BS is not None:
            mask = masks.segment_mask(inputs_segments_BS, inputs_segments_BS)
        return self.encoder(self.embed(inputs_BS), mask, dropout_key)

    def init_cache(self, encoded_BSD, inputs_BS, max_length: int) -> Cache:
        """Returns a cache for decoding up to `max_length` tokens from encoded inputs."""
        return self.decoder.init_cache(encoded_BSD, masks.padding_mask(inputs_BS), max_length)

    def decode_step(self, token_B, cache: Cache) -> tuple[jax.Array, Cache]:
        """Returns logits_BV of the token after `token_B`, and the cache that has seen `token_B`."""
        hidden_B1D, cache = self.decoder.step(self.embed(token_B[:, None]), cache)
        return self.logits(hidden_B1D)[:, 0], cache

    def embed(self, ids: jax.Array) -> jax.Array:
        """Returns the embeddings of ids in the compute dtype, unscaled."""
        return jnp.take(self.embedding[...], ids, axis=0).astype(self.cfg.dtype)

    def logits(self, hidden_BTD: jax.Array) -> jax.Array:
        """Returns logits_BTV in float32."""
        kernel_DV = self.output_kernel()
        return jnp.einsum("BTD,DV->BTV", hidden_BTD.astype(jnp.float32), kernel_DV)

    def output_kernel(self) -> jax.Array:
        """Returns kernel_DV, float32, that takes hidden states to logits."""
        if self.cfg.tie_embeddings:
            return self.embedding[...].T * self.cfg.emb_dim**-0.5
        return self.logits_kernel[...]
