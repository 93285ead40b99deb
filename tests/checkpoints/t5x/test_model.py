"""Tests t5x_lite/checkpoints/t5x/model.py with checkpoints that are laid out here, parameter by parameter."""

import dataclasses

import jax
import numpy as np
import pytest

from t5x_lite.checkpoints.t5x.files import T5XCheckpoint, read_t5x
from t5x_lite.checkpoints.t5x.model import T5XModel, unstored_fields, with_published_activations
from t5x_lite.checkpoints.t5x.writer import plain_arrays, write_t5x
from t5x_lite.checkpoints.weights import placed, reader
from t5x_lite.config import MeshConfig
from t5x_lite.model.presets import presets
from t5x_lite.model.transformer import T5
from t5x_lite.parallel.mesh import make_mesh
from t5x_lite.parallel.param_paths import named_leaves
from tests import numpy_t5, tiny
from tests.checkpoints.layouts import Array, model_of
from tests.paths import SHARED

SAMPLE = SHARED / "data" / "t5x_ckpt" / "test_t5_tiny.checkpoint_0.gz"
# What names and shapes cannot tell is as T5 1.1 and T5 1.0 have it.
FORMS = {name: tiny.FAMILY[name] for name in ("1.1", "1.0", "umT5")}
STEP = 9


def arrays_of(cfg):
    """The parameters of a model by their names here."""
    return {name: np.asarray(leaf) for name, leaf in named_leaves(tiny.drawn(T5, cfg)).items()}


def kernels(ours, stack, there, i):
    """The arrays of one layer in the plain layout, from the names here."""
    attentions = (
        {"attention": "attention"}
        if stack == "encoder"
        else {
            "self_attention": "self_attention",
            "cross_attention": "encoder_decoder_attention",
        }
    )
    found = {f"{there}/pre_mlp_layer_norm/scale": ours[f"{stack}/blocks/mlp_norm/scale"][i]}
    for own, theirs in attentions.items():
        found[f"{there}/pre_{own}_layer_norm/scale"] = ours[f"{stack}/blocks/{own}_norm/scale"][i]
        for name in ("query", "key", "value", "out"):
            kernel = ours[f"{stack}/blocks/{own}/{name}"][i]
            joined = (-1, kernel.shape[2]) if name == "out" else (kernel.shape[0], -1)
            found[f"{there}/{theirs}/{name}/kernel"] = kernel.reshape(joined)
    for name in ("wi", "wi_0", "wi_1", "wo"):
        if f"{stack}/blocks/mlp/{name}" in ours:
            found[f"{there}/mlp/{name}/kernel"] = ours[f"{stack}/blocks/mlp/{name}"][i]
    return found


def outside(ours):
    """The arrays that have no layer."""
    found = {"token_embedder/embedding": ours["embedding"]}
    for stack in ("encoder", "decoder"):
        found[f"{stack}/{stack}_norm/scale"] = ours[f"{stack}/final_norm/scale"]
        if ours[f"{stack}/position_bias/table"].ndim == 2:
            found[f"{stack}/relpos_bias/rel_embedding"] = ours[f"{stack}/position_bias/table"]
    if "logits_kernel" in ours:
        found["decoder/logits_dense/kernel"] = ours["logits_kernel"]
    return found


def plain(ours):
    found = outside(ours)
    for stack, num_layers in (("encoder", 2), ("decoder", 4)):
        for i in range(num_layers):
            found |= kernels(ours, stack, f"{stack}/layers_{i}", i)
            if ours[f"{stack}/position_bias/table"].ndim == 3:
                table = ours[f"{stack}/position_bias/table"][i]
                found[f"{stack}/layers_{i}/relpos_bias/rel_embedding"] = table
    return found


def scanned(ours, *, container="{stack}", bias="relpos_bias", split=False):
    found = outside(ours)
    for stack, num_layers in (("encoder", 2), ("decoder", 4)):
        there = f"{stack}/{container.format(stack=stack)}"
        layers = [kernels(ours, stack, there, i) for i in range(num_layers)]
        if ours[f"{stack}/position_bias/table"].ndim == 3:
            for i, layer in enumerate(layers):
                layer[f"{there}/{bias}/rel_embedding"] = ours[f"{stack}/position_bias/table"][i]
        for name in layers[0]:
            parts = [layer[name] for layer in layers]
            if split and "attention/" in name:
                H, D = 5, 20
                parts = [part.reshape((-1, H, D) if "/out/" in name else (D, -1, H)) for part in parts]
            found[name] = np.stack(parts, axis=1)
    return found


@dataclasses.dataclass
class Shape:
    """An array of which nothing is read."""

    shape: tuple[int, ...]
    dtype = np.dtype(np.float32)


def opened(targets):
    return T5XModel("x", T5XCheckpoint(STEP, {f"target/{name}": Array(array) for name, array in targets.items()}))


def assert_same(model, ours):
    found = named_leaves(model)
    assert found.keys() == ours.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("version", FORMS)
def test_the_plain_layout_is_read_with_the_sizes_that_it_tells(version):
    cfg, ours = FORMS[version], arrays_of(FORMS[version])
    found = opened(plain(ours))
    assert (found.config, found.step, found.has_optimizer) == (cfg, STEP, False)
    assert_same(model_of(found), ours)


@pytest.mark.parametrize(
    ("version", "layout"),
    [
        ("1.1", {}),
        ("1.0", {"split": True}),
        ("1.1", {"container": "layers", "split": True}),
        ("umT5", {"split": True}),
        ("umT5", {"container": "layers", "bias": "relative_posemb"}),
    ],
)
def test_the_scalable_layout_is_read_as_the_same_model(version, layout):
    cfg, ours = FORMS[version], arrays_of(FORMS[version])
    found = opened(scanned(ours, **layout))
    assert found.config == cfg
    assert_same(model_of(found), ours)


@pytest.mark.parametrize("layout", ["plain", "scanned", "scanned and split"])
def test_each_device_reads_its_own_part(layout):
    cfg = dataclasses.replace(tiny.T5_1_1, num_heads=4)
    ours = arrays_of(cfg)
    laid_out = plain(ours) if layout == "plain" else scanned(ours, split=layout.endswith("split"))
    mesh = make_mesh(MeshConfig(data=1, fsdp=4, tensor=2))
    cut = model_of(opened(laid_out), placed(cfg, mesh))
    assert_same(cut, ours)
    assert {shard.data.shape for shard in cut.encoder.blocks.attention.query[...].addressable_shards} == {(2, 5, 2, 5)}


@pytest.mark.parametrize("version", ["1.0", pytest.param("umT5", marks=pytest.mark.slow)])
def test_what_is_written_is_the_plain_layout(version, tmp_path):
    cfg, ours = FORMS[version], arrays_of(FORMS[version])
    path = write_t5x(tmp_path, plain_arrays(cfg, reader(tiny.drawn(T5, cfg))), STEP)
    made, expected = read_t5x(path), plain(ours)
    assert_same(model_of(T5XModel(path)), ours)
    assert made.arrays.keys() == {f"target/{name}" for name in expected} | {"state/step"}
    for name, array in expected.items():
        np.testing.assert_array_equal(made.arrays[f"target/{name}"].read(), array, err_msg=name)


def without(targets, *names):
    return {name: array for name, array in targets.items() if name not in names}


WRONG = {
    "a missing norm": (lambda t: without(t, "encoder/encoder_norm/scale"), r"lacks encoder/encoder_norm/scale. Use"),
    "an array too many": (lambda t: t | {"decoder/extra/kernel": np.ones(3)}, r"has unexpected decoder/extra/kernel"),
    "a wrong shape": (
        lambda t: t | {"decoder/layers_3/mlp/wo/kernel": np.ones((18, 19), np.float32)},
        r"decoder/layers_3/mlp/wo/kernel of shape \[18, 19\], not \[18, 20\]",
    ),
    "no floats": (
        lambda t: t | {"encoder/encoder_norm/scale": np.ones(20, np.int32)},
        r"has target/encoder/encoder_norm/scale of dtype int32",
    ),
    "no embedding": (lambda t: without(t, "token_embedder/embedding"), r"token_embedder/embedding is missing"),
    "a gap in the layers": (
        lambda t: {name.replace("encoder/layers_1", "encoder/layers_2"): array for name, array in t.items()},
        r"layers of its encoder are \[0, 2\]",
    ),
    "heads that do not fit": (
        lambda t: t | {"encoder/relpos_bias/rel_embedding": np.ones((4, 32), np.float32)},
        r"encoder/layers_0/attention/query/kernel of shape \[20, 15\] does not have 4 heads",
    ),
    "no decoder": (
        lambda t: {name: array for name, array in t.items() if not name.startswith("decoder")},
        r"layers of its decoder are missing",
    ),
    "both layouts": (
        lambda t: t | {"encoder/encoder/mlp/wo/kernel": np.ones((18, 2, 20), np.float32)},
        r"is not a (complete )?T5",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_checkpoint_that_is_no_whole_t5_is_refused_by_name(case):
    change, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        opened(change(plain(arrays_of(tiny.T5_1_1))))


@pytest.mark.slow
def test_t5xs_own_tiny_checkpoint_predicts_what_the_numpy_t5_does():
    if not SAMPLE.is_file():
        pytest.skip(f"{SAMPLE} is not here")
    found = T5XModel(SAMPLE)
    assert (found.config.emb_dim, found.config.num_heads, found.config.head_dim, found.step) == (8, 4, 3, 0)
    model = model_of(found)
    inputs_BS, decoder_inputs_BT = tiny.batch()
    expected = numpy_t5.forward(model, inputs_BS, decoder_inputs_BT)
    np.testing.assert_allclose(jax.jit(model)(inputs_BS, decoder_inputs_BT), expected, atol=1e-4)


def test_a_last_norm_without_a_scale_is_read_as_1_and_said(capsys):
    ours = arrays_of(tiny.T5_1_1)
    found = opened(without(plain(ours), "decoder/decoder_norm/scale"))
    assert_same(model_of(found), ours | {"decoder/final_norm/scale": np.ones(20, np.float32)})
    assert "has no decoder/decoder_norm/scale: all ones are used, as in UL2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("preset", "activations"),
    [
        ("ul2", ("silu", "linear")),
        ("t5_1_1_xl", ("gelu", "linear")),
        ("t5_small", ("relu",)),
        ("byt5_base", ("gelu", "linear")),
    ],
)
def test_activations_are_those_of_the_published_models_of_the_same_sizes(preset, activations):
    unknown = ("linear",) * len(activations)
    cfg = dataclasses.replace(presets[preset], mlp_activations=unknown)
    assert with_published_activations(cfg).mlp_activations == activations
    other = dataclasses.replace(cfg, emb_dim=77)
    assert with_published_activations(other) == other
    assert unstored_fields(presets[preset]) == []


def test_what_the_files_do_not_say_is_told():
    cfg = dataclasses.replace(tiny.T5_1_0, mlp_activations=("gelu",), scale_logits=False)
    assert unstored_fields(cfg) == ["mlp_activations ('gelu',)", "scales_logits False"]
    assert unstored_fields(tiny.T5_1_1) == []


@pytest.mark.parametrize("shape", [(), (3,), (0, 20), (3, 0, 20), (1, 1, 1, 1, 1), (2**40, 1), (1, 2**40, 1)])
@pytest.mark.parametrize("layout", ["plain", "scanned"])
def test_shapes_of_no_t5_are_one_error(layout, shape):
    laid_out = (plain if layout == "plain" else scanned)(arrays_of(tiny.T5_1_1))
    for changed in laid_out:
        targets = {name: Shape(array.shape) for name, array in laid_out.items()} | {changed: Shape(shape)}
        with pytest.raises(ValueError, match=r"is not a (complete )?T5"):
            T5XModel("x", T5XCheckpoint(0, {f"target/{name}": array for name, array in targets.items()}))


def test_an_array_of_all_layers_is_read_once_for_one_layer_after_the_other(monkeypatch):
    ours = arrays_of(tiny.T5_1_1)
    found, reads, read = opened(scanned(ours)), [], Array.read
    monkeypatch.setattr(Array, "read", lambda array, index=None: (reads.append(array), read(array, index))[1])
    for name in ("wi_0", "wo"):
        for layer in range(4):
            part = found.read(f"decoder/blocks/mlp/{name}", (slice(layer, layer + 1), slice(1, 9), slice(3, 18)))
            np.testing.assert_array_equal(part, ours[f"decoder/blocks/mlp/{name}"][layer : layer + 1, 1:9, 3:18])
    assert len(reads) == 2
