"""The models and batches the tests share. All sizes differ, so that a swapped axis cannot pass."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from t5x_lite.config import ModelConfig
from t5x_lite.config.architectures import ARCHITECTURES, Architecture
from t5x_lite.model.architectures import make_model
from t5x_lite.model.transformer import T5

B, S, T = 3, 11, 7

T5_1_1 = ModelConfig(
    vocab_size=128,
    emb_dim=20,
    num_heads=3,
    head_dim=5,
    mlp_dim=18,
    num_encoder_layers=2,
    num_decoder_layers=4,
)
T5_1_0 = dataclasses.replace(T5_1_1, mlp_activations=("relu",), tie_embeddings=True)
BOTH = {"1.1": T5_1_1, "1.0": T5_1_0}
UMT5 = dataclasses.replace(T5_1_1, relative_bias_per_layer=True)
UL2 = dataclasses.replace(T5_1_1, mlp_activations=("silu", "linear"), tie_embeddings=True)
UNTIED_AND_SCALED = dataclasses.replace(UMT5, scale_logits=True)
FAMILY = BOTH | {"umT5": UMT5, "UL2": UL2, "untied and scaled": UNTIED_AND_SCALED}


@functools.cache
def model(cfg: ModelConfig, seed: int = 0) -> T5:
    """A model with its parameters drawn in one compiled call."""
    return jax.jit(lambda: T5(cfg, rngs=nnx.Rngs(seed)))()


@functools.cache
def drawn(kind, cfg: ModelConfig, *arguments, seed: int = 0):
    """A model of the class `kind` with parameters from NumPy, which compiles nothing and leaves none at 0 or 1."""
    model = jax.eval_shape(lambda: kind(cfg, *arguments, rngs=nnx.Rngs(0)))
    generator = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(0.3 * generator.normal(size=leaf.shape), leaf.dtype), model)


LABELS = ("bad", "good", "neither")
CLASSIFIERS = [name for name, traits in ARCHITECTURES.items() if traits.labels_per]


def architecture(name: str) -> Architecture:
    """The architecture of that name, with labels if it is a classifier."""
    return Architecture(name, LABELS if name in CLASSIFIERS else ())


def drawn_by_name(name: str, cfg: ModelConfig, seed: int = 0):
    """A model of the architecture `name` with parameters from NumPy."""
    return drawn(functools.partial(_make, name), cfg, seed=seed)


def _make(name: str, cfg: ModelConfig, rngs: nnx.Rngs):
    return make_model(cfg, architecture(name), rngs=rngs)


def names(tree) -> list[str]:
    """The path of each leaf."""
    return [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]


def with_dropout(model, rate: float):
    """The same parameters under a config that drops."""
    kind, cfg = type(model), dataclasses.replace(model.cfg, dropout_rate=rate)
    dropping = jax.eval_shape(lambda: kind(cfg, rngs=nnx.Rngs(0)))
    return jax.tree.unflatten(jax.tree.structure(dropping), jax.tree.leaves(model))


def assert_every_gradient(grads) -> None:
    """Asserts that all are finite, and that no parameter, of no layer, is without one."""
    for name, grad in zip(names(grads), map(np.asarray, jax.tree.leaves(grads)), strict=True):
        assert np.isfinite(grad).all(), name
        assert all(layer.any() for layer in (grad if "blocks" in name else grad[None])), name


def ids(*shape: int, seed: int = 0, vocab_size: int = 128) -> np.ndarray:
    """Random ids, none of them padding or EOS."""
    return np.random.default_rng(seed).integers(2, vocab_size, shape).astype(np.int32)


def batch() -> tuple[np.ndarray, np.ndarray]:
    """inputs_BS, with padding in all rows but the first, and decoder_inputs_BT."""
    inputs_BS, decoder_inputs_BT = ids(B, S), ids(B, T, seed=1)
    inputs_BS[1, 8:], inputs_BS[2, 2:] = 0, 0
    decoder_inputs_BT[:, 0] = 0
    return inputs_BS, decoder_inputs_BT


@functools.partial(jax.jit, static_argnames="with_segments")
def _logits(model, inputs_BS, decoder_inputs_BT, segments, *, with_segments):
    return model(inputs_BS, decoder_inputs_BT, *(segments if with_segments else ()))


def logits(model: T5, inputs_BS, decoder_inputs_BT, *segments) -> np.ndarray:
    """The model's logits_BTV, compiled once a shape for all tests."""
    return np.asarray(_logits(model, inputs_BS, decoder_inputs_BT, segments, with_segments=bool(segments)))
