# SPDX-License-Identifier: Apache-2.0
"""Predicts and scores held-out examples, and computes the metrics of the answers.

Shape letters: B batch.
"""

import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from t5x_lite.data.converters import targets_of
from t5x_lite.evaluation.evaluator import Evaluation
from t5x_lite.evaluation.metrics import Reference, TargetScore, measure, reads
from t5x_lite.evaluation.metrics.reference import read_references
from t5x_lite.evaluation.results import prefix
from t5x_lite.inference.loop import Devices
from t5x_lite.inference.predict import predict
from t5x_lite.inference.score import target_log_probs
from t5x_lite.model.architectures import Model
from t5x_lite.model.kernels.unstacked import decode_layout
from t5x_lite.parallel.mesh import batch_sharding, device_batches, local_rows

SHOWN_EXAMPLES = 8  # of each task, in TensorBoard


def measured(evaluation: Evaluation, name: str, model: Model, answers: Sequence[str] | None) -> dict[str, float]:
    """Returns `eval/...` for each metric of a task; `answers` are predictions already made, or None."""
    metrics = evaluation.corpora[name].task.metrics
    read = reads(metrics)
    if answers is None:
        answers = predictions(evaluation, name, model) if "predictions" in read else ()
    if evaluation.on_examples is not None and answers:
        some = texts(evaluation, name, SHOWN_EXAMPLES)
        evaluation.on_examples(name, [(*one, answer) for one, answer in zip(some, answers, strict=False)])
    scored = scores(evaluation, name, model) if "scores" in read else ()
    values = measure(metrics, answers, references(evaluation, name), scored)
    return {f"{prefix(name)}{metric}": value for metric, value in values.items()}


def predictions(evaluation: Evaluation, name: str, model: Model) -> list[str]:
    """Returns a task's greedy predictions, in the order of `numbers`."""
    devices = Devices(functools.partial(on_mesh, mesh=evaluation.mesh), fetched)
    model = decode_layout(model)  # once for all batches
    max_new_tokens = evaluation.examples[name].targets_length
    answers: list[str] = []
    for rows in evaluation.host_batches(name, convert=dict):
        answers += predict(
            model, evaluation.architecture, rows["inputs"], evaluation.tokenizer, max_new_tokens, devices
        )
        evaluation.on_batch()
    return answers[: len(evaluation.numbers(name))]


def scores(evaluation: Evaluation, name: str, model: Model) -> list[TargetScore]:
    """Returns the log-likelihood of each example's targets, in the order of `numbers`."""
    scored: list[TargetScore] = []
    rows = local_rows(evaluation.mesh, evaluation.batch_size)
    for batch in device_batches(evaluation.host_batches(name, rows), evaluation.mesh):
        log_probs_B = fetched(jnp.sum(target_log_probs(model, batch), axis=1)).tolist()
        num_tokens_B = fetched(jnp.sum(targets_of(batch)[1] > 0, axis=1)).tolist()
        scored += map(TargetScore, log_probs_B, num_tokens_B)
        evaluation.on_batch()
    return scored[: len(evaluation.numbers(name))]


def references(evaluation: Evaluation, name: str) -> list[Reference]:
    """Returns a task's references, in the order of `numbers`."""
    every = read_references(evaluation.corpora[name].eval.references)
    return [every[i] for i in evaluation.numbers(name)]


def texts(evaluation: Evaluation, name: str, most: int | None = None) -> list[tuple[str, str]]:
    """Returns a task's inputs and targets as the model sees them, in the order of `numbers`: all, or at most `most`."""
    batches = (
        zip(*(evaluation.tokenizer.decode_batch(rows[side]) for side in ("inputs", "targets")), strict=True)
        for rows in evaluation.host_batches(name, convert=dict)
    )
    number = len(evaluation.numbers(name))
    return list(itertools.islice(itertools.chain.from_iterable(batches), min(number, most or number)))


def on_mesh(rows: np.ndarray, *, mesh: Mesh) -> jax.Array:
    """Shards the first dimension of an array, which every host has in full, over a mesh."""
    return jax.make_array_from_callback(rows.shape, batch_sharding(mesh), lambda index: rows[index])


def fetched(array: jax.Array) -> np.ndarray:
    """Gathers a sharded array on every host."""
    return np.asarray(multihost_utils.process_allgather(array, tiled=True) if jax.process_count() > 1 else array)
