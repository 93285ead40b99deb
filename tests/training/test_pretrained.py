"""Tests t5x_lite/training/pretrained.py"""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest

from t5x_lite.checkpoints.load import open_pretrained, save_hf
from t5x_lite.checkpoints.t5x.writer import plain_arrays, write_t5x
from t5x_lite.checkpoints.weights import placed
from t5x_lite.commands import convert
from t5x_lite.config import MeshConfig, ModelOptions, TaskConfig
from t5x_lite.config.architectures import ARCHITECTURES, Architecture
from t5x_lite.data.corpus.prepare import prepare_corpora
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.model.architectures import abstract
from t5x_lite.parallel.mesh import make_mesh
from t5x_lite.parallel.param_paths import named_leaves
from t5x_lite.training import loop
from t5x_lite.training.preflight import programs_of
from t5x_lite.training.pretrained import pretrained_model, pretrained_optimizer, source_names
from t5x_lite.training.resolve import resolve_run
from tests import runs, tiny

CFG = dataclasses.replace(tiny.T5_1_1, vocab_size=384)
LABELS, architecture = tiny.LABELS, tiny.architecture


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A model of Hugging Face's form, with ByT5's tokenizer."""
    path = tmp_path_factory.mktemp("pretrained") / "tiny"
    save_hf(tiny.model(CFG), ByteTokenizer(), path)
    return path


def config(run_dir, directory):
    return dataclasses.replace(runs.config(run_dir), model=ModelOptions(pretrained=str(directory)))


def made(cfg):
    """The run's parts, with its text prepared."""
    run, run_dir = resolve_run(cfg), pathlib.Path(cfg.run_dir)
    run_dir.mkdir()
    return loop.make_job(run, programs_of(run), prepare_corpora(run.tasks, run_dir))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_same_architecture_takes_every_parameter(name):
    names = named_leaves(abstract(CFG, architecture(name)))
    assert source_names(names, architecture(name), architecture(name)) == {name: name for name in names}


@pytest.mark.parametrize("name", ["masked_lm", *tiny.CLASSIFIERS])
def test_an_encoder_takes_all_but_its_head_from_a_t5(name):
    names, of_t5 = named_leaves(abstract(CFG, architecture(name))), named_leaves(abstract(CFG))
    sources = source_names(names, architecture(name), Architecture())
    assert names.keys() - sources.keys() == {name for name in names if name.startswith("classifier/")}
    for own, theirs in sources.items():
        assert names[own].shape == of_t5[theirs].shape
    assert {name for name in of_t5 if not name.startswith("decoder/")} - set(sources.values()) == (
        set() if name == "masked_lm" else {"logits_kernel"}
    )


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (Architecture(), Architecture("causal_lm")),
        (Architecture("causal_lm"), Architecture()),
        (Architecture(), Architecture("encoder")),
        (Architecture("sequence_classifier", LABELS), Architecture("causal_lm")),
        (Architecture("masked_lm"), Architecture("prefix_lm")),
    ],
)
def test_an_incompatible_architecture_is_refused(new, old):
    with pytest.raises(ValueError, match=rf"model.architecture is {new.name}.* cannot start from .* {old.name}.*: use"):
        source_names(named_leaves(abstract(CFG, new)), new, old)


def test_an_encoder_with_another_head_or_other_labels_gets_a_new_one():
    classifier = Architecture("sequence_classifier", ("x", "y"))
    for new, old, head in (
        (classifier, Architecture("sequence_classifier", LABELS), {"classifier/kernel", "classifier/bias"}),
        (classifier, Architecture("masked_lm"), {"classifier/kernel", "classifier/bias"}),
        (Architecture("masked_lm"), classifier, {"logits_kernel"}),
        (Architecture("masked_lm"), Architecture("encoder"), {"logits_kernel"}),
        (classifier, Architecture("encoder"), {"classifier/kernel", "classifier/bias"}),
    ):
        names = named_leaves(abstract(CFG, new))
        assert names.keys() - source_names(names, new, old).keys() == head


def test_each_device_reads_its_shards_and_new_parameters_are_named(directory, capsys):
    mesh = make_mesh(MeshConfig(data=2, fsdp=4, tensor=1))
    kind = architecture("token_classifier")
    fresh = tiny.drawn_by_name("token_classifier", CFG, seed=5)
    model = pretrained_model(placed(CFG, mesh, kind), kind, open_pretrained(directory), lambda: fresh)
    assert {shard.data.shape for shard in model.encoder.embedding[...].addressable_shards} == {(384, 5)}
    found, trained, drawn = named_leaves(model), named_leaves(tiny.model(CFG)), named_leaves(fresh)
    for name, array in found.items():
        expected = drawn[name] if name.startswith("classifier/") else trained[name.removeprefix("encoder/")]
        np.testing.assert_array_equal(array, expected, err_msg=name)
    assert "Initialised at random, as the pretrained model lacks them: classifier/bias, classifier/kernel" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("objective", ["masked_lm", "labels"])
def test_a_run_starts_from_an_encoder_alone_and_is_given_back(tmp_path, objective, capsys):
    encoder = tiny.drawn_by_name("encoder", CFG)
    save_hf(encoder, ByteTokenizer(), tmp_path / "encoder")
    cfg = config(tmp_path / "run", tmp_path / "encoder")
    task, kind = dataclasses.replace(cfg.task, objective="masked_lm"), "masked_lm"
    if objective == "labels":
        (tmp_path / "rows.jsonl").write_text('{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n' * 20)
        source, kind = str(tmp_path / "rows.jsonl"), "sequence_classifier"
        task = TaskConfig(source=source, eval_source=source, inputs="{text}", targets="{label}", labels=("x", "y"))
    model = dataclasses.replace(cfg.model, architecture=kind)
    state = made(dataclasses.replace(cfg, task=task, model=model)).program.init()
    found, own = named_leaves(state.model.encoder), named_leaves(encoder)
    assert found.keys() == own.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, own[name], err_msg=name)
    assert "Initialised at random, as the pretrained model lacks them: " in capsys.readouterr().err
    save_hf(jax.device_get(state.model.encoder), ByteTokenizer(), tmp_path / "back")
    again = named_leaves(open_pretrained(tmp_path / "back").load())
    for name, array in again.items():
        np.testing.assert_array_equal(array, own[name], err_msg=name)


def test_a_run_starts_from_the_parameters_with_a_new_optimizer(tmp_path, directory):
    job = made(config(tmp_path / "run", directory))
    state = job.program.init()
    assert int(state.step) == 0
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(state.model), jax.tree.leaves(tiny.model(CFG)))
    shapes = ({name: leaf.shape for name, leaf in named_leaves(tree).items()} for tree in (state, job.program.shapes))
    assert next(shapes) == next(shapes)


@pytest.mark.parametrize(
    ("field", "value"), [("emb_dim", 24), ("mlp_activations", ("relu",)), ("num_decoder_layers", 5)]
)
def test_a_size_other_than_the_pretrained_models_is_refused(tmp_path, directory, field, value):
    cfg = config(tmp_path / "run", directory)
    cfg = dataclasses.replace(cfg, model=dataclasses.replace(cfg.model, **{field: value}))
    with pytest.raises(ValueError, match=rf"model.{field} is .*, but model.pretrained .*tiny has"):
        made(cfg)


def test_only_t5x_checkpoints_continue_their_optimizer(tmp_path, directory):
    shapes = jax.eval_shape(lambda: 0)
    with pytest.raises(ValueError, match=r"from_pretrained is true, but model.pretrained has no optimizer state"):
        pretrained_optimizer(shapes, open_pretrained(directory))
    convert.run(str(directory), str(tmp_path / "t5x"), format="t5x")
    with pytest.raises(ValueError, match=r"has no optimizer state to continue from: leave it out"):
        pretrained_optimizer(shapes, open_pretrained(tmp_path / "t5x"))


def test_a_run_continues_t5xs_optimizer_at_t5xs_step(tmp_path, directory):
    model = open_pretrained(directory)
    targets = plain_arrays(model.config, model.read)
    slots = {}
    for name, make in targets.items():
        kept = {"v_row": np.zeros(1), "v_col": np.zeros(1), "v": np.full(make().shape, 5.0), "m": np.zeros(1)}
        path = name.replace("target/", "state/param_states/")
        slots |= {f"{path}/{slot}": value.astype(np.float32) for slot, value in kept.items()}
    write_t5x(tmp_path / "t5x", targets | slots, 30)
    cfg = config(tmp_path / "run", tmp_path / "t5x")
    cfg = dataclasses.replace(cfg, optimizer=dataclasses.replace(cfg.optimizer, from_pretrained=True))
    job = made(runs.with_steps(cfg, 32))
    state = job.program.init()
    found = named_leaves(state.opt_state)
    assert (int(state.step), int(found["0/count"]), int(found["3/count"])) == (30, 30, 30)
    # Stacked matrices keep the averages of what the plain layout holds in full.
    used = [array for name, array in found.items() if name.startswith("0/v") and array.shape != (1,)]
    assert len(used) > len(named_leaves(state.model))
    assert all((array == 5).all() for array in used)
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(state.model), jax.tree.leaves(tiny.model(CFG)))
