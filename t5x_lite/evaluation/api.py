# SPDX-License-Identifier: Apache-2.0
"""A trained model's metrics: the held-out examples of a config's tasks, read with the model's own tokenizer."""

import contextlib
import dataclasses
import math
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import yaml

from t5x_lite.checkpoints.load import Pretrained, load
from t5x_lite.config import MeshConfig, RunConfig, TaskConfig, TokenizerConfig
from t5x_lite.config.plain import as_plain
from t5x_lite.data.converters import class_labels, labels_of
from t5x_lite.data.corpus.manifest import OBJECTIVE_FIELDS, is_finished, read_manifest
from t5x_lite.data.corpus.open import CORPUS, Corpora, open_corpora
from t5x_lite.data.corpus.prepare import prepare_corpora
from t5x_lite.data.dataset import held_out_examples
from t5x_lite.data.task_specs import resolved, tasks_of
from t5x_lite.data.tokenizers import KIND_FILE, Tokenizer, build_tokenizer, load_tokenizer, tokenizer_hash
from t5x_lite.evaluation.evaluator import Evaluation, check_metrics
from t5x_lite.model.architectures import ENCODER_DECODER, Architecture, Model
from t5x_lite.parallel.mesh import make_mesh, replicated

HELD_OUT = ("eval",)  # the only split that is read

Announce = Callable[[str], object]


def evaluate(
    model: Model | Pretrained | str | os.PathLike[str], config: RunConfig, *, num_batches: int | None = None
) -> dict[str, float]:
    """Measures a model on the held-out examples of a config's tasks.

    Args:
      model: a run directory, what `load` made of one, or a model, which reads `config.run_dir`'s tokenizer, or the one
        that `config.task.tokenizer` names.
      config: its task, its lengths and its batch size count.
      num_batches: read at most of each task; None reads all.

    Returns:
      `eval/loss`, `eval/accuracy` and so on; of a mixture `eval/TASK/...` and, over all tasks, `eval/loss`.

    Raises:
      ValueError: if the config, the data or the model is wrong.
    """
    config = checked(config, num_batches)
    home = pathlib.Path(config.run_dir)
    if isinstance(model, (str, os.PathLike)):
        home, model = pathlib.Path(model), load(model)
    tokenizer = model.tokenizer if isinstance(model, Pretrained) else _tokenizer_beside(config)
    weights = model.model if isinstance(model, Pretrained) else model
    architecture = model.architecture if isinstance(model, Pretrained) else _architecture(config)
    config = as_trained(config, architecture)
    if tokenizer.vocab_size > weights.cfg.vocab_size:
        raise ValueError(
            f"the tokenizer has {tokenizer.vocab_size} ids and the model {weights.cfg.vocab_size}: pass the run "
            "directory, or what t5x_lite.load returns, for the model's own"
        )
    with opened(config, tokenizer, home) as corpora:
        measurement = Measurement(config, corpora, num_batches, architecture)
        return measurement.results(measurement.place(weights), {})


def checked(cfg: RunConfig, num_batches: int | None) -> RunConfig:
    """Returns a config with its task resolved.

    Raises:
      ValueError: if its metrics cannot be measured, or the number of batches is none.
    """
    if num_batches is not None and num_batches < 1:
        raise ValueError(f"num_batches is {num_batches}: use a number above 0, or all")
    cfg = dataclasses.replace(cfg, task=resolved(cfg.task))
    check_metrics(cfg.task)
    return cfg


def as_trained(cfg: RunConfig, architecture: Architecture) -> RunConfig:
    """Returns a config with a trained model's architecture in place of the one it names.

    Raises:
      ValueError: if the model is a classifier, and the config's labels are others than it has learned.
    """
    labels = labels_of(tasks_of(cfg.task)) if architecture.labels else ()
    if labels != architecture.labels:
        raise ValueError(
            f"task.labels is {list(labels)}, and the model has learned {list(architecture.labels)}: use the same, in "
            "the same order"
        )
    return dataclasses.replace(cfg, model=dataclasses.replace(cfg.model, architecture=architecture.name))


@contextlib.contextmanager
def opened(
    cfg: RunConfig, tokenizer: Tokenizer, home: pathlib.Path, *, announce: Announce = lambda message: None
) -> Iterator[Corpora]:
    """Opens the text of a config's tasks while the block lasts, as ids of a model's own tokenizer.

    Args:
      cfg: its task resolved.
      tokenizer: the model's.
      home: the run directory; its text is read if it is the one that is asked for, and never written to.
      announce: is told about each slow stage as it starts.

    Raises:
      ValueError: if the task asks for another tokenizer, or its text is damaged.
    """
    with tempfile.TemporaryDirectory(prefix="t5x_lite_eval_") as temporary:
        directory = pathlib.Path(temporary)
        tokenizer.save(directory)
        digest = tokenizer_hash(directory)
        check_tokenizer(cfg.task.tokenizer, tokenizer, digest, home)
        task = dataclasses.replace(cfg.task, tokenizer=TokenizerConfig())
        yield stored_corpora(task, home, digest) or prepare_corpora(task, directory, announce=announce, splits=HELD_OUT)


def check_tokenizer(asked: TokenizerConfig, tokenizer: Tokenizer, digest: str, home: pathlib.Path) -> None:
    """Raises ValueError if a config asks for another tokenizer than the model's.

    Args:
      asked: by the config; its defaults ask for nothing.
      tokenizer: the model's.
      digest: its `tokenizer_hash`.
      home: a run directory; what its config asked for is the model's if it holds the same tokenizer.
    """
    if asked == TokenizerConfig():
        return
    if (home / "config.yaml").is_file() and tokenizer_hash(home) == digest:
        stored = yaml.safe_load((home / "config.yaml").read_text()) or {}
        if stored.get("task", {}).get("tokenizer") == dataclasses.asdict(asked):
            return
    if asked.kind == "sentencepiece" and asked.path is None:  # trained on some text
        sizes = (tokenizer.kind, tokenizer.vocab_size, tokenizer.num_sentinels)
        same = sizes == (asked.kind, asked.vocab_size, asked.num_sentinels)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            build_tokenizer(asked, ()).save(pathlib.Path(temporary))
            same = tokenizer_hash(temporary) == digest
    if not same:
        defaults = dataclasses.asdict(TokenizerConfig())
        given = {name: value for name, value in dataclasses.asdict(asked).items() if value != defaults[name]}
        raise ValueError(
            f"task.tokenizer is {given}, and the model has learned the ids of another one ({tokenizer.kind}, "
            f"{tokenizer.vocab_size} of them): leave task.tokenizer out"
        )


def stored_corpora(task: TaskConfig, home: pathlib.Path, digest: str) -> Corpora:
    """Returns the text that a run directory holds, empty unless it is what is asked for.

    Args:
      task: resolved.
      home: the run directory.
      digest: the `tokenizer_hash` of the model's tokenizer.

    Raises:
      ValueError: if `task.prepared` has another tokenizer's ids, or a file of the text is damaged.
    """
    tasks = tasks_of(task)
    for single in tasks.values():
        made = {} if single.prepared is None else read_manifest(pathlib.Path(single.prepared))
        if made.get("tokenizer", digest) != digest:
            raise ValueError(
                f"task.prepared {single.prepared} has the ids of another tokenizer than the model's: leave it out, to "
                "read task.source, or prepare the text with the model's"
            )
    if not (home / KIND_FILE).is_file() or not all(_is_stored(single, name, home) for name, single in tasks.items()):
        return {}
    if tokenizer_hash(home) != digest:
        return {}
    return open_corpora(task, home / CORPUS, home)


def _is_stored(task: TaskConfig, name: str, home: pathlib.Path) -> bool:
    manifest = read_manifest(home / CORPUS / name)
    if task.prepared is not None or not is_finished(manifest):
        return False
    asked = {field: value for field, value in as_plain(task).items() if field not in {*OBJECTIVE_FIELDS, "tokenizer"}}
    return all(manifest["task"].get(field) == value for field, value in asked.items())


def num_devices(batch_size: int) -> int:
    """Returns how many devices measure: as many as divide a batch, and all where there are several processes.

    Raises:
      ValueError: if there are several, and their devices do not divide it.
    """
    count = jax.device_count()
    if jax.process_count() > 1 and batch_size % count:
        raise ValueError(
            f"train.batch_size is {batch_size}, and the {jax.process_count()} processes have {count} devices: use a "
            "multiple of them"
        )
    return math.gcd(count, batch_size)


class Measurement:
    """Held-out examples, on as many devices as share their batches evenly.

    Args:
      cfg: its task resolved.
      corpora: of its tasks.
      num_batches: read at most of each task; None reads all.
      architecture: of the models.
      on_batch: called after each batch that a model has read.

    Raises:
      ValueError: if there is too little text, or `cfg.train` does not fit it.
    """

    def __init__(
        self,
        cfg: RunConfig,
        corpora: Corpora,
        num_batches: int | None = None,
        architecture: Architecture = ENCODER_DECODER,
        *,
        on_batch: Callable[[], object] = lambda: None,
    ):
        examples, batch_size = held_out_examples(cfg, corpora), cfg.train.batch_size
        longest = -(-max(map(len, examples.values())) // batch_size)
        cfg = dataclasses.replace(
            cfg, eval=dataclasses.replace(cfg.eval, num_batches=min(num_batches or longest, longest))
        )
        self._mesh = make_mesh(MeshConfig(), jax.devices()[: num_devices(batch_size)])
        self._evaluation = Evaluation(cfg, corpora, examples, self._mesh, architecture=architecture, on_batch=on_batch)
        self._tasks, self._batch_size = tasks_of(cfg.task), batch_size
        self._has_pairs = {name: corpus.has_pairs for name, corpus in corpora.items()}
        self.counts = {name: len(self._evaluation.numbers(name)) for name in examples}

    def num_batches(self, *, decodes_all: bool) -> int:
        """Returns how many batches a model reads, with answers to the examples of all tasks or where metrics ask."""
        return sum(
            -(-count // self._batch_size) * (1 + (decodes_all or bool(self._tasks[name].metrics)))
            for name, count in self.counts.items()
        )

    def place(self, model: Model) -> Model:
        """Returns a model, copied to the devices."""
        everywhere = replicated(self._mesh)
        if jax.process_count() == 1:
            return jax.device_put(model, everywhere)

        def copied(leaf: jax.Array) -> jax.Array:  # each process has all of it, on a device of its own
            whole = np.asarray(leaf)
            return jax.make_array_from_callback(whole.shape, everywhere, lambda index: whole[index])

        return jax.tree.map(copied, model)

    def rows(self, model: Model, predictions: dict[str, list[str]], task: str) -> Iterator[dict[str, Any]]:
        """Yields what a model makes of each example, in the order of the held-out text.

        Args:
          model: placed.
          predictions: gets the answers to the examples of each task, in the order of `Evaluation.numbers`.
          task: what rows call a task that is of no mixture.
        """
        for name in self._tasks:
            with jax.set_mesh(self._mesh):
                predictions[name] = self._evaluation.predictions(name, model)
            texts = self._evaluation.texts(name)
            references = self._evaluation.references(name) if self._has_pairs[name] else None
            for i in np.argsort(self._evaluation.numbers(name)):
                inputs, targets = texts[i]
                row = {"task": name or task, "inputs": inputs, "prediction": predictions[name][i], "targets": targets}
                if references is not None:  # as they are in the source, before they were cut
                    row["targets"] = references[i].targets
                    row |= {"answers": list(references[i].answers)} if references[i].answers else {}
                yield row

    def results(self, model: Model, predictions: Mapping[str, Sequence[str]]) -> dict[str, float]:
        """Returns what `Evaluation` does, and the perplexity of tasks of text.

        Args:
          model: placed.
          predictions: of `rows`; answers that metrics ask for beside them are decoded now.
        """
        with jax.set_mesh(self._mesh):
            results = self._evaluation(model, predictions)
        for name, has_pairs in self._has_pairs.items():
            if not has_pairs:
                prefix = f"eval/{name}/" if name else "eval/"
                with np.errstate(over="ignore"):  # of a model that has diverged
                    results[f"{prefix}perplexity"] = float(np.exp(results[f"{prefix}loss"]))
        return results


def _tokenizer_beside(cfg: RunConfig) -> Tokenizer:
    """The tokenizer of a model that is given without one."""
    if (pathlib.Path(cfg.run_dir) / KIND_FILE).is_file():
        return load_tokenizer(cfg.run_dir)
    asked = cfg.task.tokenizer
    if asked.kind == "sentencepiece" and asked.path is None:
        raise ValueError(
            f"the model comes without a tokenizer, and run_dir {cfg.run_dir} has none: name the model's run directory "
            "there, set task.tokenizer.path, or pass what t5x_lite.load returns"
        )
    return build_tokenizer(asked, ())


def _architecture(cfg: RunConfig) -> Architecture:
    return Architecture(cfg.model.architecture, class_labels(cfg))
