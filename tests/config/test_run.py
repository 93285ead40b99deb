"""Tests t5x_lite/config/run.py"""

import dataclasses
import subprocess
import sys

import pytest

from t5x_lite import config
from t5x_lite.config.commands import InferConfig


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: config.ModelConfig(dtype="float16"), r"model.dtype is float16: .*use bfloat16"),
        (lambda: config.ModelOptions(dtype="half"), r"model.dtype is half: .*use bfloat16"),
        (lambda: config.ModelConfig(dtype="int8"), r"model.dtype is 'int8': use one of float32, bfloat16"),
        (lambda: config.ModelConfig(num_heads=0), r"model.num_heads is 0: use a number above 0"),
        (lambda: config.ModelConfig(dropout_rate=1.0), r"model.dropout_rate is 1.0: "),
        (lambda: config.ModelConfig(mlp_activations=("tanh",)), r"model.mlp_activations is \['tanh'\]: use one or two"),
        (lambda: config.ModelConfig(remat="some"), r"train.remat is 'some': use one of none, minimal, full"),
        (lambda: config.TaskConfig(noise_density=1.5), r"task.noise_density is 1.5: "),
        (lambda: config.TaskConfig(mean_noise_span_length=0.5), r"task.mean_noise_span_length is 0.5: "),
        (lambda: config.TaskConfig(objective="ul3"), r"task.objective is 'ul3': use one of span_corruption, iid_"),
        (
            lambda: config.TaskConfig(objective="prefix_lm", noise_density=0.5),
            r"task.noise_density is 0.5, but task.objective prefix_lm does not use it: leave it out",
        ),
        (
            lambda: config.TaskConfig(objective="masked_lm", mean_noise_span_length=2.0),
            r"task.mean_noise_span_length is 2.0, but task.objective masked_lm does not use it: leave it out",
        ),
        (
            lambda: config.TaskConfig(objective="causal_lm", inputs="{a}", targets="{b}", source="f"),
            r"task.objective is causal_lm, which is for plain text, and task.inputs is given: leave out one of them",
        ),
        (
            lambda: config.TaskConfig(inputs="{a}", source="f"),
            r"task.inputs is '{a}' and task.targets is None: give both",
        ),
        (
            lambda: config.TaskConfig(inputs="{a}", targets="{b}", text="{c}", source="f"),
            r"task.text is '{c}' and task.inputs is given: leave out one of them",
        ),
        (lambda: config.TaskConfig(source=""), r"task.source is empty: name files"),
        (lambda: config.TaskConfig(source=("a.txt", "")), r"task.source is \['a.txt', ''\]: name files"),
        (lambda: config.TaskConfig(source="f", eval_source=()), r"task.eval_source is \[\]: name files"),
        (lambda: config.TaskConfig(choices={"0": "no"}), r"task.choices is given without task.targets"),
        (lambda: config.TaskConfig(inputs="{a}", targets="{b}"), r"task.source docstrings is text without fields"),
        (
            lambda: config.TaskConfig(eval_source="docstrings", source="f"),
            r"task.source docstrings is text without fields",
        ),
        (lambda: config.TaskConfig(eval_percent=0), r"task.eval_percent is 0: "),
        (
            lambda: config.TokenizerConfig(kind="huggingface"),
            r"task.tokenizer.path is null and task.tokenizer.kind is huggingface: name a tokenizer.json",
        ),
        (
            lambda: config.TokenizerConfig(kind="bytes_and_sentinels", path="a.model"),
            r"task.tokenizer.path is a.model and task.tokenizer.kind is bytes_and_sentinels, which reads no file",
        ),
        (lambda: config.TrainConfig(num_steps=-5), r"train.num_steps is -5: use a number above 0"),
        (
            lambda: config.TrainConfig(batch_size=6, num_microbatches=4),
            r"train.batch_size 6 is not divisible by train.num_microbatches 4",
        ),
        (lambda: config.TrainConfig(label_smoothing=1.0), r"train.label_smoothing is 1.0: "),
        (lambda: config.OptimizerConfig(learning_rate=0.0), r"optimizer.learning_rate is 0.0: "),
        (
            lambda: config.OptimizerConfig(name="adamw", factored="none"),
            r"optimizer.factored is none and .* adamw, which",
        ),
        (
            lambda: config.OptimizerConfig(name="adamw_rms", multiply_by_parameter_scale=False),
            r"optimizer.multiply_by_parameter_scale is False and optimizer.name is adamw_rms, which does not use it",
        ),
        (lambda: config.RunConfig(run_dir="x", revision=3), r"revision is 3: use 1 or 2"),
        (
            lambda: config.OptimizerConfig(schedule="rsqrt", warmup_steps=0),
            r"optimizer.warmup_steps is 0, which the rsqrt schedule divides by",
        ),
        (
            lambda: config.TrainConfig(num_steps=3, num_epochs=2),
            r"train.num_steps is 3 and train.num_epochs is 2: leave out one of them, or set it to null",
        ),
        (lambda: config.TrainConfig(num_epochs=float("inf")), r"train.num_epochs is inf: use a finite number above 0"),
        (lambda: config.OptimizerConfig(beta2=1.0), r"optimizer.beta2 is 1.0: "),
        (lambda: config.MeshConfig(data=-1, fsdp=-1), r"use -1 for one axis only"),
        (lambda: config.MeshConfig(tensor=0), r"mesh.tensor is 0: "),
        (lambda: config.RunConfig(run_dir=""), r"run_dir is empty: "),
        (lambda: config.RunConfig(run_dir="gs://b/run"), r"run_dir is 'gs://b/run', not a local directory"),
        (lambda: config.RunConfig(run_dir="x", seed=-1), r"seed is -1: "),
        (lambda: InferConfig(checkpoint="x", batch_size=0), r"batch_size is 0: "),
    ],
)
def test_a_wrong_value_is_refused_with_its_field_and_a_remedy(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("objective", config.READ_BY_OBJECTIVE)
def test_an_objective_accepts_the_fields_it_uses(objective):
    other = {"noise_density": 0.4, "mean_noise_span_length": 5.0}
    read = {field: other[field] for field in config.READ_BY_OBJECTIVE[objective]}
    task = config.TaskConfig(objective=objective, **read)
    assert {field: getattr(task, field) for field in read} == read


def test_configs_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.RunConfig(run_dir="x").seed = 1  # type: ignore[misc]


def test_reading_a_config_needs_the_standard_library_alone():
    code = "import sys, t5x_lite.config; print([m for m in ('jax', 'numpy', 'yaml') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
