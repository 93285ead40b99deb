# SPDX-License-Identifier: Apache-2.0
"""The public `evaluate` and its parts: evaluates a trained model, with its own tokenizer, on held-out examples."""

import contextlib
import dataclasses
import math
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from t5x_lite.checkpoints.load import Pretrained, check_ids, load, run_path
from t5x_lite.config import MeshConfig, ModelConfig, RunConfig, TaskConfig, TokenizerConfig
from t5x_lite.config.plain import as_plain
from t5x_lite.data.converters import architecture_for
from t5x_lite.data.corpus.manifest import is_finished, read_manifest
from t5x_lite.data.corpus.open import CORPUS, Corpora, open_corpora, tokenizer_of
from t5x_lite.data.corpus.prepare import Announce, prepare_corpora
from t5x_lite.data.corpus.same_task import OBJECTIVE_FIELDS
from t5x_lite.data.dataset import ExampleSpec, held_out_examples
from t5x_lite.data.task_specs import TaskSpecs, resolve_tasks
from t5x_lite.data.tokenizers import KIND_FILE, Tokenizer, build_tokenizer, load_tokenizer, tokenizer_hash
from t5x_lite.evaluation.evaluator import Evaluation
from t5x_lite.evaluation.metric_checks import check_metrics
from t5x_lite.evaluation.results import prefix
from t5x_lite.files.run_config import read_run_config, resolved
from t5x_lite.model.architectures import Architecture, Model
from t5x_lite.parallel.mesh import make_mesh, replicated

HELD_OUT = ("eval",)  # the only split needed


def evaluate(
    model: Model | Pretrained | str | os.PathLike[str],
    config: RunConfig | None = None,
    *,
    num_batches: int | None = None,
    trust: str | os.PathLike[str] | None = None,
) -> dict[str, float]:
    """Evaluates a model on the held-out examples of its run's tasks or of a config's.

    Args:
      model: a run directory or one of its checkpoints, RUN/checkpoints/STEP, the result of `load`, or a model alone,
        which uses the tokenizer in `config.run_dir` or `config.task.tokenizer`.
      config: the config, whose task must be set; only its task, lengths, batch size and revision matter. None is the
        config of a run directory.
      num_batches: the maximum number of batches per task; None for all.
      trust: the run directory whose config.yaml may name code to import, package.module:NAME, if config is None; None
        imports no such code.

    Returns:
      `eval/loss`, `eval/target_accuracy` and so on; for a mixture `eval/TASK/...`, and `eval/loss` over all tasks.

    Raises:
      ValueError: if the config or the data is invalid, or does not match the model; or if the run's config names code
        that is not trusted.
      TypeError: if the model or the config is something else.
    """
    if (
        config is None or getattr(config, "task", None) is RunConfig.task
    ):  # the default of RunConfig: nobody asked for it
        from t5x_lite.evaluation.own_task import own_config

        config = own_config(model, config, trust)
    elif not isinstance(config, RunConfig):
        raise TypeError(f"config is of type {type(config).__name__}: pass a t5x_lite.RunConfig")
    tasks = checked_tasks(config.task, num_batches)
    run_dir = pathlib.Path(config.run_dir)
    if isinstance(model, (str, os.PathLike)):
        run_dir, model = run_path(model), load(model)
    config = resolved(config, run_dir)
    if isinstance(model, Pretrained):
        tokenizer, architecture, network = model.tokenizer, model.architecture, model.model
    elif not isinstance(getattr(model, "cfg", None), ModelConfig):
        raise TypeError(
            f"model is of type {type(model).__name__}: pass a run directory, what t5x_lite.load returns, or a model"
        )
    else:
        network: Model = model
        tokenizer = _tokenizer_without_model(run_dir, tasks.tokenizer)
        architecture = architecture_for(config.model.architecture, tasks.each, follows_t5x=config.follows_t5x)
    spec = held_out_spec(config, tasks, architecture, start_id=network.cfg.start_id)
    if tokenizer.vocab_size > network.cfg.vocab_size:
        raise ValueError(
            f"the tokenizer has {tokenizer.vocab_size} ids, but the model has {network.cfg.vocab_size}: pass the run "
            "directory or the result of t5x_lite.load, to use the model's own"
        )
    check_ids(network.cfg, tokenizer, "the model")
    with held_out_corpora(tasks, tokenizer, run_dir) as corpora:
        evaluation = make_evaluation(spec, corpora, config.train.batch_size, num_batches)
        return measure(evaluation, replicate(network, evaluation.mesh))


def checked_tasks(task: TaskConfig, num_batches: int | None) -> TaskSpecs:
    """Returns the resolved tasks, after checking their metrics and `num_batches`."""
    if num_batches is not None and num_batches < 1:
        raise ValueError(f"num_batches is {num_batches}: use a positive number, or leave it out for all")
    tasks = resolve_tasks(task)
    check_metrics(tasks)
    return tasks


def held_out_spec(cfg: RunConfig, tasks: TaskSpecs, architecture: Architecture, *, start_id: int) -> ExampleSpec:
    """Returns a config's examples for a trained model, after checking that the labels match.

    `start_id` is the model's.
    """
    architecture.check_predicts()
    labels = architecture_for(architecture.name, tasks.each).labels
    if labels != architecture.labels:
        raise ValueError(
            f"task.labels is {list(labels)}, but the model was trained with {list(architecture.labels)}: use the same "
            "labels in the same order"
        )
    return ExampleSpec.from_config(cfg, tasks, architecture, start_id=start_id)


@contextlib.contextmanager
def held_out_corpora(
    tasks: TaskSpecs, tokenizer: Tokenizer, run_dir: pathlib.Path, *, announce: Announce = lambda message: None
) -> Iterator[Corpora]:
    """Opens the held-out text of tasks, encoded with the model's tokenizer.

    The text in `run_dir` is used if it matches the task. `announce` is called with a message before each slow stage.
    """
    with tempfile.TemporaryDirectory(prefix="t5x_lite_eval_") as temporary:
        directory = pathlib.Path(temporary)
        tokenizer.save(directory)
        digest = tokenizer_hash(directory)
        check_tokenizer(tasks.tokenizer, tokenizer, digest, run_dir)
        tasks = tasks.with_tokenizer(TokenizerConfig())
        yield stored_corpora(tasks, run_dir, digest) or prepare_corpora(
            tasks, directory, announce=announce, splits=HELD_OUT
        )


def check_tokenizer(asked: TokenizerConfig, tokenizer: Tokenizer, digest: str, run_dir: pathlib.Path) -> None:
    """Raises ValueError if a config asks for a tokenizer other than the model's, which has this `tokenizer_hash`.

    The default config accepts any. If `run_dir` has the model's tokenizer, what its config asked for is accepted too.
    """
    if asked == TokenizerConfig():
        return
    stored = read_run_config(run_dir)
    if stored is not None and tokenizer_hash(run_dir) == digest:
        recorded = stored.get("task", {}).get("tokenizer")
        if recorded and as_plain(TokenizerConfig()) | recorded == as_plain(asked):  # old configs have fewer fields
            return
    if asked.kind == "sentencepiece" and asked.path is None:  # not trained yet, so its ids cannot be compared
        fields = ("kind", "vocab_size", "num_sentinels")
        same = all(getattr(tokenizer, field) == getattr(asked, field) for field in fields)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            build_tokenizer(asked, ()).save(pathlib.Path(temporary))
            same = tokenizer_hash(temporary) == digest
    if not same:
        defaults = dataclasses.asdict(TokenizerConfig())
        given = {name: value for name, value in dataclasses.asdict(asked).items() if value != defaults[name]}
        raise ValueError(
            f"task.tokenizer is {given}, but the model was trained with another one ({tokenizer.kind}, "
            f"{tokenizer.vocab_size} ids): leave task.tokenizer out"
        )


def stored_corpora(tasks: TaskSpecs, run_dir: pathlib.Path, digest: str) -> Corpora:
    """Returns the text in a run directory, or nothing unless it is of these tasks and this `tokenizer_hash`."""
    for single in tasks.each.values():
        manifest = {} if single.prepared is None else read_manifest(pathlib.Path(single.prepared))
        if manifest.get("tokenizer", digest) != digest:
            raise ValueError(
                f"task.prepared {single.prepared} was prepared with a tokenizer other than the model's: leave it out "
                "to read task.source, or prepare the text with the model's"
            )
    is_same_tokenizer = (run_dir / KIND_FILE).is_file() and tokenizer_hash(run_dir) == digest
    if not is_same_tokenizer or not all(_is_stored(single, name, run_dir) for name, single in tasks.each.items()):
        return {}
    return open_corpora(tasks, run_dir / CORPUS, run_dir)


def _is_stored(task: TaskConfig, name: str, run_dir: pathlib.Path) -> bool:
    manifest = read_manifest(run_dir / CORPUS / name)
    if task.prepared is not None or not is_finished(manifest):
        return False
    asked = {field: value for field, value in as_plain(task).items() if field not in {*OBJECTIVE_FIELDS, "tokenizer"}}
    return all(manifest["task"].get(field) == value for field, value in asked.items())


def make_evaluation(
    spec: ExampleSpec,
    corpora: Corpora,
    batch_size: int,
    num_batches: int | None = None,
    *,
    on_batch: Callable[[], object] = lambda: None,
) -> Evaluation:
    """Returns an evaluation on held-out examples, on as many devices as divide the batch size.

    `num_batches` is the maximum per task, None for all; `on_batch` is called after each batch.
    """
    examples = held_out_examples(spec, corpora)
    all_batches = -(-max(map(len, examples.values())) // batch_size)
    return Evaluation(
        corpora=corpora,
        examples=examples,
        convert=spec.converter(tokenizer_of(corpora)),
        architecture=spec.architecture,
        mesh=make_mesh(MeshConfig(), jax.devices()[: num_devices(batch_size)]),
        batch_size=batch_size,
        num_batches=min(num_batches or all_batches, all_batches),
        on_batch=on_batch,
    )


def num_devices(batch_size: int) -> int:
    """Returns the number of devices to use: all if there are several processes, else as many as divide the batch."""
    count = jax.device_count()
    if jax.process_count() > 1 and batch_size % count:
        raise ValueError(
            f"train.batch_size is {batch_size}, but the {jax.process_count()} processes have {count} devices: use a "
            "multiple of that"
        )
    return math.gcd(count, batch_size)


def replicate(model: Model, mesh: Mesh) -> Model:
    """Returns a model with its parameters replicated on every device of a mesh."""
    everywhere = replicated(mesh)
    if jax.process_count() == 1:
        return jax.device_put(model, everywhere)

    def copied(leaf: jax.Array) -> jax.Array:  # every process has the whole parameter on a local device
        whole = np.asarray(leaf)
        return jax.make_array_from_callback(whole.shape, everywhere, lambda index: whole[index])

    return jax.tree.map(copied, model)


def measure(
    evaluation: Evaluation, model: Model, predictions: Mapping[str, Sequence[str]] | None = None
) -> dict[str, float]:
    """Returns the results of an evaluation, and the perplexity of tasks on plain text.

    The model is on the evaluation's mesh; `predictions` holds predictions already made, by task.
    """
    with jax.set_mesh(evaluation.mesh):
        results = evaluation(model, predictions)
    for name, corpus in evaluation.corpora.items():
        if not corpus.has_pairs:
            with np.errstate(over="ignore"):  # the model may have diverged
                results[f"{prefix(name)}perplexity"] = float(np.exp(results[f"{prefix(name)}loss"]))
    return results


def _tokenizer_without_model(run_dir: pathlib.Path, asked: TokenizerConfig) -> Tokenizer:
    """Returns the tokenizer in the config's run directory, or else the one the config asks for."""
    if (run_dir / KIND_FILE).is_file():
        return load_tokenizer(run_dir)
    if asked.kind == "sentencepiece" and asked.path is None:
        raise ValueError(
            f"the model has no tokenizer, and neither has run_dir {run_dir}: set run_dir to the model's run "
            "directory, set task.tokenizer.path, or pass the result of t5x_lite.load"
        )
    return build_tokenizer(asked, ())
