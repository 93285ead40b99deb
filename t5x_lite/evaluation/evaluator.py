# SPDX-License-Identifier: Apache-2.0
"""Evaluation on held-out examples: the loss, and the task's metrics on greedy predictions, if it has any.

Decoding and metrics are imported only when predictions are needed.

Shape letters: B batch, T targets, D model, V vocabulary.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from t5x_lite.data.converters import Batch, Converter
from t5x_lite.data.corpus.open import Corpora, tokenizer_of
from t5x_lite.data.examples import Examples, spread
from t5x_lite.data.pipeline import eval_batches, unigram_entropy
from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.evaluation.results import prefix
from t5x_lite.model.architectures import Architecture, Model
from t5x_lite.model.kernels.cross_entropy import token_scores
from t5x_lite.parallel.mesh import device_batches, local_rows


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
    # Called with a task and the inputs, targets and predictions of a few examples, if there are predictions.
    on_examples: Callable[[str, Sequence[tuple[str, str, str]]], object] | None = None

    def __post_init__(self) -> None:
        for name, corpus in self.corpora.items():
            if corpus.task.metrics:  # for prepared text, known only now
                from t5x_lite.evaluation.metric_checks import check_evaluated

                check_evaluated(self, name)

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
                from t5x_lite.evaluation.answers import measured

                results |= measured(self, name, model, predictions.get(name))
        if len(self.examples) > 1:
            results = held_out_loss(all_sums) | results
        return results | self._entropies

    def numbers(self, name: str) -> np.ndarray:
        """Returns the indices of a task's evaluated examples, in the order they are read."""
        length = len(self.examples[name])
        return spread(np.arange(min(length, self.batch_size * self.num_batches)), length)

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of all tasks."""
        return tokenizer_of(self.corpora)

    @functools.cached_property
    def _entropies(self) -> dict[str, float]:
        """The loss of a model that knows only the frequency of each target."""
        kind, tokenizer = ("labels", None) if self.architecture.labels else ("text", self.tokenizer)
        return {
            f"{prefix(name)}unigram_{kind}": unigram_entropy(self.host_batches(name), tokenizer)
            for name in self.examples
        }

    def _sums(self, name: str, model: Model) -> list[HeldOutSums]:
        tokenizer = self.tokenizer
        no_text = range(len(self.architecture.labels)) if self.architecture.labels else tokenizer.sentinel_ids
        sums = functools.partial(held_out_sums, model, eos_id=tokenizer.eos_id, no_text=no_text)
        rows = local_rows(self.mesh, self.batch_size)
        results = []
        for batch in device_batches(self.host_batches(name, rows), self.mesh):
            results.append(jax.device_get(sums(batch)))
            self.on_batch()
        return results

    def host_batches(self, name: str, rows: slice = slice(None), convert: Converter | None = None) -> Iterator[Batch]:
        """Yields a task's batches with these rows; `dict` for `convert` leaves the features as they are."""
        return eval_batches(
            self.examples[name],
            batch_size=self.batch_size,
            num_batches=self.num_batches,
            convert=convert or self.convert,
            rows=rows,
        )
