"""Tests t5x_lite/model/kernels/cross_entropy.py against the same loss written out in float64 NumPy."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from t5x_lite.model.kernels import cross_entropy as module
from t5x_lite.model.kernels.cross_entropy import LossSums, cross_entropy, token_scores

B, T, D, V = 3, 7, 11, 29
Z_LOSS = 0.03  # far above T5's 1e-4, so that an error in it shows


def batch(*, seed=0, batch_size=B, vocab_size=V, dtype=np.float32):
    rng = np.random.default_rng(seed)
    hidden_BTD = rng.normal(size=(batch_size, T, D)).astype(np.float32)
    kernel_DV = (rng.normal(size=(D, vocab_size)) / D**0.5).astype(np.float32)
    targets_BT = rng.integers(vocab_size, size=(batch_size, T), dtype=np.int32)
    weights_BT = rng.uniform(0.5, 1.5, size=(batch_size, T)).astype(np.float32)
    weights_BT[:, -2:] = 0  # padding
    return jnp.asarray(hidden_BTD, dtype), *(jnp.asarray(x) for x in (kernel_DV, targets_BT, weights_BT))


def reference(hidden_BTD, kernel_DV, targets_BT, weights_BT, *, z_loss=0.0, label_smoothing=0.0):
    """Returns the sums and the two gradients, in float64 and from whole logits and one-hot targets."""
    hidden_BTD, kernel_DV, w_BT = (np.asarray(x, np.float64) for x in (hidden_BTD, kernel_DV, weights_BT))
    V = kernel_DV.shape[1]
    logits_BTV = hidden_BTD @ kernel_DV
    log_z_BT = np.log(np.exp(logits_BTV).sum(-1))
    log_p_BTV = logits_BTV - log_z_BT[..., None]
    onehot_BTV = np.eye(V)[targets_BT]
    soft_BTV = np.where(onehot_BTV == 1, 1 - label_smoothing, label_smoothing / (V - 1))
    entropy_BT = -(soft_BTV * np.log(soft_BTV + 1e-20)).sum(-1)
    z_BT = z_loss * log_z_BT**2
    loss_BT = -(soft_BTV * log_p_BTV).sum(-1) - entropy_BT + z_BT
    nats_BT = -(onehot_BTV * log_p_BTV).sum(-1)
    correct_BT = logits_BTV.argmax(-1) == targets_BT
    sums = LossSums(*((x * w_BT).sum() for x in (loss_BT, nats_BT, z_BT, np.ones((1, 1)), correct_BT)))
    dlogits_BTV = ((1 + 2 * z_loss * log_z_BT)[..., None] * np.exp(log_p_BTV) - soft_BTV) * w_BT[..., None]
    return sums, (dlogits_BTV @ kernel_DV.T, np.einsum("BTD,BTV->DV", hidden_BTD, dlogits_BTV))


def sums_of(arrays, **options):
    return jax.jit(functools.partial(cross_entropy, **options))(*arrays)


def value_and_gradients(arrays, **options):
    def loss(hidden_BTD, kernel_DV, targets_BT, weights_BT):
        sums = cross_entropy(hidden_BTD, kernel_DV, targets_BT, weights_BT, **options)
        return sums.loss, sums

    (_, sums), gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(*arrays)
    return sums, gradients


def assert_close(actual, expected, *, rtol):
    """Compares leaf by leaf, each relative to its largest entry."""
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.asarray(a, np.float64), e, rtol=0, atol=rtol * np.abs(e).max())


@pytest.mark.parametrize(
    ("chunk_logits", "label_smoothing"),
    [
        pytest.param(10**6, 0.0, id="one chunk"),
        pytest.param(10**6, 0.1, id="one chunk, smoothed"),
        pytest.param(3 * B * V, 0.1, id="chunks of 3, 3 and 1 time steps"),
        pytest.param(1, 0.1, id="a chunk a time step"),
    ],
)
def test_sums_and_gradients_equal_float64(monkeypatch, chunk_logits, label_smoothing):
    monkeypatch.setattr(module, "CHUNK_LOGITS", chunk_logits)
    options = {"z_loss": Z_LOSS, "label_smoothing": label_smoothing}
    expected_sums, expected_gradients = reference(*batch(), **options)
    assert_close(sums_of(batch(), **options), expected_sums, rtol=1e-6)
    sums, gradients = value_and_gradients(batch(), **options)
    assert_close(sums, expected_sums, rtol=1e-6)
    assert_close(gradients, expected_gradients, rtol=1e-6)


def test_token_scores_are_those_of_each_target(monkeypatch):
    monkeypatch.setattr(module, "CHUNK_LOGITS", 2 * B * V)
    hidden_BTD, kernel_DV, targets_BT, _ = batch()
    nats_BT, is_correct_BT = jax.jit(token_scores)(hidden_BTD, kernel_DV, targets_BT)
    best_BT = np.argmax(hidden_BTD @ kernel_DV, axis=-1)
    np.testing.assert_array_equal(is_correct_BT, best_BT == targets_BT)
    assert jax.jit(token_scores)(hidden_BTD, kernel_DV, best_BT).is_correct_BT.all()
    for b, t in np.ndindex(B, T):
        one = np.zeros((B, T))
        one[b, t] = 1
        sums, _ = reference(hidden_BTD, kernel_DV, targets_BT, one)
        np.testing.assert_allclose(nats_BT[b, t], sums.cross_entropy, rtol=1e-6)


def tied(num_best, dtype):
    """Returns arrays in which ids 5, 10, ... are equally and most probable everywhere, and targets 0 to 20."""
    kernel_DV = np.zeros((D, V), np.float32)
    kernel_DV[:, 5 : 5 * (num_best + 1) : 5] = 1
    targets_BT = np.arange(B * T, dtype=np.int32).reshape(B, T)
    return jnp.ones((B, T, D), dtype), jnp.asarray(kernel_DV), jnp.asarray(targets_BT), jnp.ones((B, T))


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
@pytest.mark.parametrize("chunk_logits", [10**6, 3 * B * V])
@pytest.mark.parametrize(("num_best", "argmax"), [(0, 0), (1, 5), (2, 5), (4, 5)])
def test_of_tied_logits_only_the_lowest_id_is_right_as_for_argmax(monkeypatch, num_best, argmax, chunk_logits, dtype):
    monkeypatch.setattr(module, "CHUNK_LOGITS", chunk_logits)
    arrays = tied(num_best, dtype)
    is_correct_BT = np.asarray(arrays[2]) == argmax
    np.testing.assert_array_equal(jax.jit(token_scores)(*arrays[:3]).is_correct_BT, is_correct_BT)
    assert sums_of(arrays).num_correct == 1
    assert value_and_gradients(arrays)[0].num_correct == 1


def test_targets_of_nan_logits_are_wrong():
    hidden_BTD, kernel_DV, targets_BT, weights_BT = batch()
    assert sums_of((jnp.nan * hidden_BTD, kernel_DV, targets_BT, weights_BT)).num_correct == 0


def test_large_logits_do_not_overflow():
    hidden_BTD, kernel_DV, targets_BT, weights_BT = batch()
    sums, gradients = value_and_gradients((1e4 * hidden_BTD, kernel_DV, targets_BT, weights_BT), z_loss=1e-4)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((sums, gradients)))


def test_microbatches_add_up_to_the_batch():
    hidden_BTD, kernel_DV, targets_BT, weights_BT = batch()
    sums = jax.jit(functools.partial(cross_entropy, z_loss=Z_LOSS))
    parts = [sums(hidden_BTD[b : b + 1], kernel_DV, targets_BT[b : b + 1], weights_BT[b : b + 1]) for b in range(B)]
    expected, _ = reference(*batch(), z_loss=Z_LOSS)
    assert_close(jax.tree.map(lambda *x: sum(x), *parts), expected, rtol=1e-6)


def test_the_gradient_scales_with_the_cotangent_of_the_loss():
    hidden_BTD, kernel_DV, targets_BT, weights_BT = batch()

    def mean(hidden_BTD, kernel_DV):
        sums = cross_entropy(hidden_BTD, kernel_DV, targets_BT, weights_BT, z_loss=Z_LOSS)
        return sums.loss / sums.weight

    _, expected = reference(*batch(), z_loss=Z_LOSS)
    gradients = jax.jit(jax.grad(mean, argnums=(0, 1)))(hidden_BTD, kernel_DV)
    assert_close(gradients, jax.tree.map(lambda g: g / weights_BT.sum(), expected), rtol=1e-6)


def test_bfloat16_products_add_up_in_float32():
    arrays = batch(dtype=jnp.bfloat16, vocab_size=401)
    sums, (dhidden_BTD, dkernel_DV) = value_and_gradients(arrays, z_loss=Z_LOSS)
    assert dhidden_BTD.dtype == jnp.bfloat16
    assert dkernel_DV.dtype == jnp.float32
    hidden_BTD, kernel_DV, *rest = arrays
    rounded = hidden_BTD, kernel_DV.astype(jnp.bfloat16), *rest
    expected_sums, expected_gradients = reference(*rounded, z_loss=Z_LOSS)
    assert_close(sums, expected_sums, rtol=1e-6)
    assert_close((dhidden_BTD, dkernel_DV), expected_gradients, rtol=2**-8)  # one rounding of the logits' gradient
    jaxpr = str(jax.make_jaxpr(lambda *arrays: value_and_gradients(arrays))(*arrays))
    assert jaxpr.count("dot_general[") == jaxpr.count("preferred_element_type=float32") == 3


@pytest.mark.parametrize("mesh_shape", [(8, 1, 1), (2, 2, 2)])
def test_a_sharded_batch_stays_where_it_is(monkeypatch, mesh_shape):
    batch_size, vocab_size = 8, 32
    # Three chunks, because each device holds but its share of the logits.
    monkeypatch.setattr(module, "CHUNK_LOGITS", 3 * batch_size * vocab_size // math.prod(mesh_shape))
    arrays = batch(batch_size=batch_size, vocab_size=vocab_size)
    mesh = jax.make_mesh(mesh_shape, ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)
    rows, kernel = NamedSharding(mesh, P(("data", "fsdp"))), NamedSharding(mesh, P(None, "tensor"))
    with jax.set_mesh(mesh):
        gradients = jax.jit(jax.grad(lambda *a: cross_entropy(*a, z_loss=Z_LOSS).loss, argnums=(0, 1)))
        sharded = [jax.device_put(x, s) for x, s in zip(arrays, (rows, kernel, rows, rows), strict=True)]
        traced = gradients.trace(*sharded)
        compiled = traced.lower().compile()
        actual = compiled(*sharded)
    assert_close(actual, reference(*arrays, z_loss=Z_LOSS)[1], rtol=1e-6)
    assert "length=3" in str(traced.jaxpr)
    hlo = compiled.as_text() or ""
    assert "all-reduce(" in hlo
    assert not any(f"{name}(" in hlo for name in ("all-gather", "all-to-all", "collective-permute"))


def test_memory_is_under_a_third_of_whole_logits():
    B, T, D, V = 64, 114, 512, 32_128  # T5 small
    shapes = [((B, T, D), np.float32), ((D, V), np.float32), ((B, T), np.int32), ((B, T), np.float32)]

    def whole(hidden_BTD, kernel_DV, targets_BT, weights_BT):
        logits_BTV = hidden_BTD @ kernel_DV
        log_z_BT = jax.nn.logsumexp(logits_BTV, axis=-1)
        target_BT = jnp.take_along_axis(logits_BTV, targets_BT[..., None], axis=-1)[..., 0]
        return jnp.sum((log_z_BT - target_BT + Z_LOSS * log_z_BT**2) * weights_BT)

    def peak_bytes(loss):
        arguments = [jax.ShapeDtypeStruct(*shape) for shape in shapes]
        memory = jax.jit(jax.value_and_grad(loss, argnums=(0, 1))).lower(*arguments).compile().memory_analysis()
        assert memory is not None
        return memory.temp_size_in_bytes + memory.output_size_in_bytes

    ours = peak_bytes(lambda *arrays: cross_entropy(*arrays, z_loss=Z_LOSS).loss)
    assert ours < peak_bytes(whole) / 3
