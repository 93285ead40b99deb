"""Tests t5x_lite/config/wrong_types.py"""

import numpy as np
import pytest

from t5x_lite.config import (
    CheckpointConfig,
    DataConfig,
    EvalConfig,
    MeshConfig,
    ModelOptions,
    OptimizerConfig,
    RunConfig,
    TaskConfig,
    TokenizerConfig,
    TrainConfig,
)
from t5x_lite.config.commands import ServeConfig
from t5x_lite.config.encoding import EncodingConfig
from t5x_lite.config.generation import GenerationConfig
from t5x_lite.config.wrong_types import check_types


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GenerationConfig(max_new_tokens=2.5), "max_new_tokens is 2.5: use a whole number"),
        (lambda: GenerationConfig(temperature="1"), "temperature is '1': use a number"),
        (lambda: GenerationConfig(num_beams=True), "num_beams is True: use a whole number"),
        (lambda: GenerationConfig(forced_prefix=3), "forced_prefix is 3: use text"),
        (lambda: TrainConfig(num_steps=2.5), "train.num_steps is 2.5: use a whole number or null"),
        (lambda: OptimizerConfig(learning_rate="x"), "optimizer.learning_rate is 'x': use a number or null"),
        (lambda: MeshConfig(data="1"), "mesh.data is '1': use a whole number"),
        (lambda: DataConfig(num_workers="2"), "data.num_workers is '2': use a whole number"),
        (lambda: EvalConfig(every_steps=1e3), "eval.every_steps is 1000.0: use a whole number"),
        (lambda: CheckpointConfig(keep=True), "checkpoint.keep is True: use a whole number"),
        (lambda: ModelOptions(dropout_rate="0"), "model.dropout_rate is '0': use a number or null"),
        (lambda: TaskConfig(eval_percent="5"), "task.eval_percent is '5': use a number"),
        (lambda: TokenizerConfig(vocab_size=4e2), "task.tokenizer.vocab_size is 400.0: use a whole number"),
        (lambda: RunConfig(run_dir="r", seed=1.5), "seed is 1.5: use a whole number"),
        (lambda: EncodingConfig(normalise="no"), "normalise is 'no': use true or false or null"),
        (lambda: EncodingConfig(dimensions=2.5), "dimensions is 2.5: use a whole number or null"),
        (lambda: ServeConfig(checkpoint="r", port="80"), "--port is '80': use a whole number"),
    ],
)
def test_a_value_of_another_type_is_refused_in_words(make, message):
    with pytest.raises(TypeError, match=f"^{message}$"):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DataConfig(packing="best"), "data.packing is 'best': use one of none, first_fit, best_fit"),
        (lambda: OptimizerConfig(name="adam"), "optimizer.name is 'adam': use one of adafactor, adamw_rms, adamw"),
        (lambda: OptimizerConfig(factored="all"), "optimizer.factored is 'all': use one of stacked, large, none"),
        (lambda: TaskConfig(text_unit=None), "task.text_unit is null: give it a value, or leave it out"),
        (lambda: ModelOptions(architecture="encoder"), "model.architecture is 'encoder': use one of enc.*"),
        (lambda: TaskConfig(objective=["ul2"]), "task.objective is .*: use one of span_corruption, .* ul2"),
        (lambda: RunConfig(run_dir="r", revision=True), "revision is True: use 1 or 2"),
        (lambda: GenerationConfig(beam_variant="f"), "beam_variant is 'f': use t5x or hf"),
        (lambda: ServeConfig(checkpoint="r", pooling="max"), "--pooling is 'max': use mean or first"),
    ],
)
def test_a_value_that_is_no_choice_is_refused_with_the_choices(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()


def test_choices_by_parameter_and_texts_of_numpy_are_accepted():
    assert DataConfig(packing=np.str_("best_fit")).packing == "best_fit"
    assert OptimizerConfig(factored={"encoder/*": "none"}).factored == {"encoder/*": "none"}


def test_numbers_of_numpy_and_whole_numbers_for_others_are_accepted():
    cfg = GenerationConfig(max_new_tokens=np.int64(3), temperature=np.float32(0.5), top_p=1)
    assert (cfg.max_new_tokens, cfg.top_p) == (3, 1)


def test_a_union_lists_what_it_takes():
    with pytest.raises(TypeError, match=r"^train\.targets_length is '7': use a whole number or null$"):
        check_types(_train("7"), "train.")


def _train(length):
    cfg = TrainConfig()
    object.__setattr__(cfg, "targets_length", length)
    return cfg
