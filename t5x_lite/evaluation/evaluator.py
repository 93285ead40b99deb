# SPDX-License-Identifier: Apache-2.0
"""What is measured on held-out examples: their loss, and where a task names metrics, what the model makes of them.

Shape letters: B batch, S input tokens, T targets.
"""

import functools
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from t5x_lite.config import GenerationConfig, RunConfig, TaskConfig
from t5x_lite.data.converters import Batch, Converter, make_converter
from t5x_lite.data.corpus.open import Corpora, Split
from t5x_lite.data.examples import Examples, spread
from t5x_lite.data.pipeline import eval_batches, unigram_entropy
from t5x_lite.data.task_specs import tasks_of
from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.evaluation.metrics import Reference, check_names, measure
from t5x_lite.inference.loop import Devices
from t5x_lite.inference.predict import predict
from t5x_lite.model.architectures import ENCODER_DECODER, Architecture, Model
from t5x_lite.model.kernels.cpu import unstacked
from t5x_lite.model.kernels.cross_entropy import token_scores
from t5x_lite.parallel.mesh import batch_sharding, device_batches, local_rows


class HeldOutSums(NamedTuple):
    """Sums over targets; those of several batches add."""

    nats: jax.Array
    tokens: jax.Array
    num_correct: jax.Array
    text_nats: jax.Array
    text_tokens: jax.Array


@functools.partial(jax.jit, static_argnames=("first_text_id", "last_text_id"))
def held_out_sums(
    model: Model, batch: Mapping[str, jax.Array], *, first_text_id: int, last_text_id: int
) -> HeldOutSums:
    """Sums the nats of a batch's targets, all of them and those of text alone.

    Args:
      model: called without dropout.
      batch: the model's features, one example a row.
      first_text_id: targets from this id to `last_text_id` are text; the others are padding, EOS or sentinels.
      last_text_id: see above.
    """
    hidden_BTD, kernel_DV, targets_BT, weights_BT = model.predict(batch)
    nats_BT, is_correct_BT = token_scores(hidden_BTD, kernel_DV, targets_BT)
    is_token_BT = weights_BT > 0
    is_text_BT = is_token_BT & (targets_BT >= first_text_id) & (targets_BT <= last_text_id)
    return HeldOutSums(
        nats=jnp.sum(nats_BT * is_token_BT),
        tokens=jnp.sum(is_token_BT),
        num_correct=jnp.sum(is_correct_BT & is_token_BT),
        text_nats=jnp.sum(nats_BT * is_text_BT),
        text_tokens=jnp.sum(is_text_BT),
    )


def held_out_loss(sums: Iterable[HeldOutSums], prefix: str = "eval/") -> dict[str, float]:
    """Returns nats a target, and the share of them that is found most probable.

    Args:
      sums: over batches.
      prefix: of the names.

    Returns:
      `eval/loss` and `eval/target_accuracy` of all targets, and `eval/loss_text` of those of text alone, if any are.
    """
    nats, tokens, num_correct, text_nats, text_tokens = (float(sum(column)) for column in zip(*sums, strict=True))
    loss = {f"{prefix}loss": nats / max(tokens, 1.0)}
    if text_tokens:
        loss[f"{prefix}loss_text"] = text_nats / text_tokens
    return loss | {f"{prefix}target_accuracy": num_correct / max(tokens, 1.0)}


def check_metrics(task: TaskConfig) -> None:
    """Raises ValueError unless the metrics that a task, or those of a mixture, names can be measured here."""
    for name, single in tasks_of(task).items():
        check_names(single.metrics)
        if single.metrics and single.prepared is None and single.inputs is None:
            raise _no_answers(name, single.metrics)


def _no_answers(name: str, metrics: Sequence[str]) -> ValueError:
    return ValueError(
        f"task.metrics{f' of {name}' if name else ''} names {', '.join(metrics)}, which judge answers, and the task "
        "learns from text: give task.inputs and task.targets, or leave task.metrics out"
    )


class Evaluation:
    """Measures a model on the same held-out examples every time, those of each task by themselves.

    Args:
      cfg: the run, its task resolved.
      corpora: of its tasks.
      examples: the held-out ones of each task.
      architecture: of the models.
      mesh: the devices the model is on.
      on_batch: called after each batch that a model has read.
    """

    def __init__(
        self,
        cfg: RunConfig,
        corpora: Corpora,
        examples: Mapping[str, Examples],
        mesh: Mesh,
        *,
        architecture: Architecture = ENCODER_DECODER,
        on_batch: Callable[[], object] = lambda: None,
    ):
        self._cfg, self._corpora, self._examples, self._mesh = cfg, corpora, examples, mesh
        self._on_batch = on_batch
        self._tokenizer: Tokenizer = next(iter(corpora.values())).tokenizer
        self._architecture, self._convert = (
            architecture,
            make_converter(cfg.model.architecture, tasks_of(cfg.task), self._tokenizer, packing=cfg.data.packing),
        )
        self._metrics = {name: task.metrics for name, task in tasks_of(cfg.task).items()}
        for name, metrics in self._metrics.items():
            if metrics and not corpora[name].has_pairs:  # a preparation, which says only now what it is of
                raise _no_answers(name, metrics)
        # What a model would reach that knows how frequent the targets are, and nothing else.
        kind, tokenizer = ("labels", None) if architecture.labels else ("text", self._tokenizer)
        self._entropy = {
            f"{_prefix(name)}unigram_{kind}": unigram_entropy(self._host_batches(name), tokenizer) for name in examples
        }

    def __call__(self, model: Model, predictions: Mapping[str, Sequence[str]] | None = None) -> dict[str, float]:
        """Returns `eval/...` of a single task, `eval/TASK/...` of each task of a mixture and `eval/loss` of all.

        Args:
          model: to measure.
          predictions: what `predictions` returned for some of the tasks; those of others are made if metrics need them.
        """
        results, all_sums, predictions = {}, [], predictions or {}
        for name in self._examples:
            sums = self._sums(name, model)
            all_sums += sums
            results |= held_out_loss(sums, _prefix(name))
            if self._metrics[name]:
                answers = predictions[name] if name in predictions else self.predictions(name, model)
                measured = measure(self._metrics[name], answers, self.references(name))
                results |= {f"{_prefix(name)}{metric}": value for metric, value in measured.items()}
        if len(self._examples) > 1:
            results = held_out_loss(all_sums) | results
        return results | self._entropy

    def predictions(self, name: str, model: Model) -> list[str]:
        """Returns what a model answers to the examples of a task, by greedy choice; `numbers` says to which."""
        config = GenerationConfig(max_new_tokens=self._examples[name].targets_length)
        devices = Devices(functools.partial(on_mesh, mesh=self._mesh), fetched)
        model = unstacked(model)  # once for all batches
        answers: list[str] = []
        for rows in self._rows(name):
            answers += predict(model, self._architecture, rows["inputs"], self._tokenizer, config, devices)
            self._on_batch()
        return answers[: len(self.numbers(name))]

    def references(self, name: str) -> list[Reference]:
        """Returns what the predictions for the examples of a task are judged by, in the same order."""
        known = read_references(self._corpora[name].eval)
        return [known[i] for i in self.numbers(name)]

    def numbers(self, name: str) -> np.ndarray:
        """Returns which of the held-out examples of a task are read, in the order in which they are."""
        length = len(self._examples[name])
        return spread(np.arange(min(length, self._cfg.train.batch_size * self._cfg.eval.num_batches)), length)

    def texts(self, name: str) -> list[tuple[str, str]]:
        """Returns the inputs and the targets of the examples of a task as the model has them, in the same order."""
        batches = (
            zip(*(self._tokenizer.decode_batch(rows[side]) for side in ("inputs", "targets")), strict=True)
            for rows in self._rows(name)
        )
        return list(itertools.chain.from_iterable(batches))[: len(self.numbers(name))]

    def _sums(self, name: str, model: Model) -> list[HeldOutSums]:
        tokenizer = self._tokenizer
        last_text_id = -1 if self._architecture.labels else tokenizer.vocab_size - tokenizer.num_sentinels - 1
        sums = functools.partial(held_out_sums, model, first_text_id=tokenizer.eos_id + 1, last_text_id=last_text_id)
        found = []
        for batch in self._batches(name):
            found.append(jax.device_get(sums(batch)))
            self._on_batch()
        return found

    def _batches(self, name: str) -> Iterator[Mapping[str, jax.Array]]:
        rows = local_rows(self._mesh, self._cfg.train.batch_size)
        return device_batches(self._host_batches(name, rows), self._mesh)

    def _rows(self, name: str) -> Iterator[Batch]:
        """The examples as the task has them, those of all hosts."""
        return self._host_batches(name, convert=dict)

    def _host_batches(self, name: str, rows: slice = slice(None), convert: Converter | None = None) -> Iterator[Batch]:
        return eval_batches(
            self._examples[name],
            batch_size=self._cfg.train.batch_size,
            num_batches=self._cfg.eval.num_batches,
            convert=convert or self._convert,
            rows=rows,
        )


def on_mesh(rows: np.ndarray, *, mesh: Mesh) -> jax.Array:
    """Returns an array that every host has whole, its first dimension spread over a mesh."""
    return jax.make_array_from_callback(rows.shape, batch_sharding(mesh), lambda index: rows[index])


def fetched(array: jax.Array) -> np.ndarray:
    """Returns an array of a mesh, whole on every host."""
    return np.asarray(multihost_utils.process_allgather(array, tiled=True) if jax.process_count() > 1 else array)


def read_references(split: Split) -> list[Reference]:
    """Returns what the predictions for the held-out pairs of a corpus are judged by, in their order."""
    lines = (line for path in split.references for line in path.read_text().splitlines())
    return [
        Reference(row["targets"], tuple(row.get("answers", ())), row.get("group", "")) for row in map(json.loads, lines)
    ]


def _prefix(name: str) -> str:
    return f"eval/{name}/" if name else "eval/"
