# SPDX-License-Identifier: Apache-2.0
"""Evaluation on held-out examples: the loss, and the task's metrics on greedy predictions, if it has any.

Decoding and metrics are imported only when predictions are needed.

Shape letters: B batch, T targets, D model, V vocabulary.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from t5x_lite.data.converters import Batch, Converter, targets_of
from t5x_lite.data.corpus.open import Corpora, tokenizer_of
from t5x_lite.data.examples import Examples, spread
from t5x_lite.data.pipeline import eval_batches, unigram_entropy
from t5x_lite.data.task_specs import TaskSpecs
from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.evaluation.results import prefix
from t5x_lite.model.architectures import Architecture, Model
from t5x_lite.model.kernels.cross_entropy import token_scores
from t5x_lite.parallel.mesh import batch_sharding, device_batches, local_rows

if TYPE_CHECKING:
    from t5x_lite.evaluation.metrics import Reference, TargetScore


class HeldOutSums(NamedTuple):
    """Sums over the targets of a batch, to be added up over batches."""

    nats: jax.Array
    tokens: jax.Array
    num_correct: jax.Array
    text_nats: jax.Array
    text_tokens: jax.Array


@functools.partial(jax.jit, static_argnames=("eos_id", "no_text"))
def held_out_sums(model: Model, batch: Mapping[str, jax.Array], *, eos_id: int, no_text: range) -> HeldOutSums:
    """Sums the cross entropy of a batch, over all targets and over text only, without dropout.

    Text is all targets but EOS and the ids in `no_text`, which are sentinels. Padding has no weight.
    """
    hidden_BTD, kernel_DV, targets_BT, weights_BT = model.predict(batch)
    nats_BT, is_correct_BT = token_scores(hidden_BTD, kernel_DV, targets_BT)
    is_token_BT = weights_BT > 0
    is_text_BT = is_token_BT & (targets_BT != eos_id) & ((targets_BT < no_text.start) | (targets_BT >= no_text.stop))
    return HeldOutSums(
        nats=jnp.sum(nats_BT * is_token_BT),
        tokens=jnp.sum(is_token_BT),
        num_correct=jnp.sum(is_correct_BT & is_token_BT),
        text_nats=jnp.sum(nats_BT * is_text_BT),
        text_tokens=jnp.sum(is_text_BT),
    )


def held_out_loss(sums: Iterable[HeldOutSums], task: str = "") -> dict[str, float]:
    """Returns the mean loss, in nats per target, and the accuracy, from the sums of all batches.

    The results are named `eval/loss`, `eval/target_accuracy` and, if there is any text, `eval/loss_text`.
    """
    nats, tokens, num_correct, text_nats, text_tokens = (float(sum(column)) for column in zip(*sums, strict=True))
    loss = {f"{prefix(task)}loss": nats / max(tokens, 1.0)}
    if text_tokens:
        loss[f"{prefix(task)}loss_text"] = text_nats / text_tokens
    return loss | {f"{prefix(task)}target_accuracy": num_correct / max(tokens, 1.0)}


def check_metrics(tasks: TaskSpecs) -> None:
    """Raises ValueError unless the metrics of all tasks are known, installed and suitable."""
    for name, single in tasks.each.items():
        if single.metrics:
            from t5x_lite.evaluation.metrics import check_names

            check_names(single.metrics)
            if single.prepared is None and single.inputs is None:
                raise _needs_pairs(name, single.metrics)


def _needs_pairs(name: str, metrics: Sequence[str]) -> ValueError:
    return ValueError(
        f"task.metrics{f' of {name}' if name else ''} is {', '.join(metrics)}, but the task is plain text and has no "
        "answers to score: give task.inputs and task.targets, or leave task.metrics out"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Evaluates models, each task separately, always on the same held-out examples."""

    corpora: Corpora
    examples: Mapping[str, Examples]  # held-out examples by task
    convert: Converter
    architecture: Architecture
    mesh: Mesh  # the models' devices
    batch_size: int  # rows of the global batch
    num_batches: int  # maximum per task
    on_batch: Callable[[], object] = lambda: None  # called after each batch

    def __post_init__(self) -> None:
        for name, corpus in self.corpora.items():
            if corpus.task.metrics and not corpus.has_pairs:  # for prepared text, known only now
                raise _needs_pairs(name, corpus.task.metrics)

    def __call__(self, model: Model, predictions: Mapping[str, Sequence[str]] | None = None) -> dict[str, float]:
        """Returns `eval/...` for a single task; for a mixture `eval/TASK/...`, and the loss over all tasks.

        `predictions` holds predictions already made, by task.
        """
        results, all_sums, predictions = {}, [], predictions or {}
        for name, corpus in self.corpora.items():
            sums = self._sums(name, model)
            all_sums += sums
            results |= held_out_loss(sums, name)
            if corpus.task.metrics:
                from t5x_lite.evaluation.metrics import measure, reads

                read = reads(corpus.task.metrics)
                answers = predictions.get(name, ())
                if "predictions" in read and name not in predictions:
                    answers = self.predictions(name, model)
                scores = self.scores(name, model) if "scores" in read else ()
                measured = measure(corpus.task.metrics, answers, self.references(name), scores)
                results |= {f"{prefix(name)}{metric}": value for metric, value in measured.items()}
        if len(self.examples) > 1:
            results = held_out_loss(all_sums) | results
        return results | self._entropies

    def predictions(self, name: str, model: Model) -> list[str]:
        """Returns a task's greedy predictions, in the order of `numbers`."""
        from t5x_lite.inference.loop import Devices
        from t5x_lite.inference.predict import predict
        from t5x_lite.model.kernels.unstacked import decode_layout

        devices = Devices(functools.partial(on_mesh, mesh=self.mesh), fetched)
        model = decode_layout(model)  # once for all batches
        max_new_tokens = self.examples[name].targets_length
        answers: list[str] = []
        for rows in self._host_batches(name, convert=dict):
            answers += predict(model, self.architecture, rows["inputs"], self._tokenizer, max_new_tokens, devices)
            self.on_batch()
        return answers[: len(self.numbers(name))]

    def scores(self, name: str, model: Model) -> "list[TargetScore]":
        """Returns the log-likelihood of each example's targets, in the order of `numbers`."""
        from t5x_lite.evaluation.metrics import TargetScore
        from t5x_lite.inference.score import target_log_probs

        scores: list[TargetScore] = []
        rows = local_rows(self.mesh, self.batch_size)
        for batch in device_batches(self._host_batches(name, rows), self.mesh):
            log_probs_B = fetched(jnp.sum(target_log_probs(model, batch), axis=1)).tolist()
            num_tokens_B = fetched(jnp.sum(targets_of(batch)[1] > 0, axis=1)).tolist()
            scores += map(TargetScore, log_probs_B, num_tokens_B)
            self.on_batch()
        return scores[: len(self.numbers(name))]

    def references(self, name: str) -> "list[Reference]":
        """Returns a task's references, in the order of `numbers`."""
        from t5x_lite.evaluation.metrics.reference import read_references

        references = read_references(self.corpora[name].eval.references)
        return [references[i] for i in self.numbers(name)]

    def numbers(self, name: str) -> np.ndarray:
        """Returns the indices of a task's evaluated examples, in the order they are read."""
        length = len(self.examples[name])
        return spread(np.arange(min(length, self.batch_size * self.num_batches)), length)

    def texts(self, name: str) -> list[tuple[str, str]]:
        """Returns a task's inputs and targets as the model sees them, in the order of `numbers`."""
        batches = (
            zip(*(self._tokenizer.decode_batch(rows[side]) for side in ("inputs", "targets")), strict=True)
            for rows in self._host_batches(name, convert=dict)
        )
        return list(itertools.chain.from_iterable(batches))[: len(self.numbers(name))]

    @property
    def _tokenizer(self) -> Tokenizer:
        return tokenizer_of(self.corpora)

    @functools.cached_property
    def _entropies(self) -> dict[str, float]:
        """The loss of a model that knows only the frequency of each target."""
        kind, tokenizer = ("labels", None) if self.architecture.labels else ("text", self._tokenizer)
        return {
            f"{prefix(name)}unigram_{kind}": unigram_entropy(self._host_batches(name), tokenizer)
            for name in self.examples
        }

    def _sums(self, name: str, model: Model) -> list[HeldOutSums]:
        tokenizer = self._tokenizer
        no_text = range(len(self.architecture.labels)) if self.architecture.labels else tokenizer.sentinel_ids
        sums = functools.partial(held_out_sums, model, eos_id=tokenizer.eos_id, no_text=no_text)
        rows = local_rows(self.mesh, self.batch_size)
        results = []
        for batch in device_batches(self._host_batches(name, rows), self.mesh):
            results.append(jax.device_get(sums(batch)))
            self.on_batch()
        return results

    def _host_batches(self, name: str, rows: slice = slice(None), convert: Converter | None = None) -> Iterator[Batch]:
        """Yields a task's batches with these rows; `dict` for `convert` leaves the features as they are."""
        return eval_batches(
            self.examples[name],
            batch_size=self.batch_size,
            num_batches=self.num_batches,
            convert=convert or self.convert,
            rows=rows,
        )


def on_mesh(rows: np.ndarray, *, mesh: Mesh) -> jax.Array:
    """Shards the first dimension of an array, which every host has in full, over a mesh."""
    return jax.make_array_from_callback(rows.shape, batch_sharding(mesh), lambda index: rows[index])


def fetched(array: jax.Array) -> np.ndarray:
    """Gathers a sharded array on every host."""
    return np.asarray(multihost_utils.process_allgather(array, tiled=True) if jax.process_count() > 1 else array)
