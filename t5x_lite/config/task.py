# SPDX-License-Identifier: Apache-2.0
"""Configuration of tasks: text, objective and tokenizer of one task, or a mixture of several."""

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from t5x_lite.config.checks import NON_NEGATIVE, POSITIVE, Rule, check_fields, not_empty, require
from t5x_lite.config.paths import expand_home

DOCSTRINGS = "docstrings"  # the source available in every installation
# Text to train a vocabulary on. Training time is proportional to it, and a vocabulary of 8,192 trained on 2 MB of
# docstrings needs only 0.8% more tokens than one trained on 4 MB.
VOCABULARY_BYTES = 2_000_000
# The objectives, and the fields of a task that each of them reads.
READ_BY_OBJECTIVE = {
    "span_corruption": ("noise_density", "mean_noise_span_length"),
    "iid_denoising": ("noise_density",),
    "prefix_lm": (),
    "causal_lm": (),
    "masked_lm": ("noise_density",),
    "ul2": (),
}
if TYPE_CHECKING:
    ObjectiveName = str
else:
    ObjectiveName = Literal[tuple(READ_BY_OBJECTIVE)]
SOURCE = not_empty("name files, directories, patterns or another source that the help of task.source lists")
FEW_SENTINELS = Rule(lambda value: value <= 2**16, "use at most 65,536")
RULES = {
    Rule(lambda value: 0 < value < 1, "use a number between 0 and 1; T5 uses 0.15"): "noise_density",
    Rule(lambda value: value >= 1, "use 1 or more; T5 uses 3"): "mean_noise_span_length",
    Rule(lambda value: 0 < value < 100, "use a number between 0 and 100"): "eval_percent",
    NON_NEGATIVE: "min_characters",
    POSITIVE: "max_unpack_ratio",
    SOURCE: "source eval_source",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """Conversion of text to token ids.

    Args:
      kind: sentencepiece; huggingface, for a tokenizer.json; bytes, ByT5's vocabulary with its sentinels (258 and
        down), which needs no file; or bytes_and_sentinels, with the sentinels above the bytes, like SeqIO's extra ids.
      path: SentencePiece model file, tokenizer.json, recognised by its .json suffix, or the directory of a model, whose
        tokenizer keeps its special ids and its sentinels; null trains a SentencePiece model on the task's text in the
        first run and keeps it in the run directory.
      vocab_size: vocabulary size of a tokenizer trained here, sentinels included.
      num_sentinels: number of sentinels, <extra_id_N>, whose ids count down from the top of the vocabulary; a file with
        sentinels of its own keeps them.
      added_tokens: texts that become one token each, with the ids after the vocabulary's; null adds none.
    """

    kind: Literal["sentencepiece", "huggingface", "bytes", "bytes_and_sentinels"] = "sentencepiece"
    path: str | None = None
    vocab_size: int = 8_192
    num_sentinels: int = 100
    added_tokens: tuple[str, ...] | None = None

    def __post_init__(self):
        check_fields(self, "task.tokenizer.", {POSITIVE: "vocab_size num_sentinels", FEW_SENTINELS: "num_sentinels"})
        expand_home(self, "task.tokenizer.", "path")
        require(
            self.kind != "huggingface" or self.path is not None,
            "task.tokenizer.path is null and task.tokenizer.kind is huggingface: name a tokenizer.json",
        )
        require(
            self.path is None or self.kind in ("sentencepiece", "huggingface"),
            f"task.tokenizer.path is {self.path} and task.tokenizer.kind is {self.kind}, which reads no file: "
            "leave out one of them",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """Text and objective of a task.

    Args:
      base: package.module:NAME of a Task or Mixture in Python, such as t5x_lite.tasks.glue:COLA; fields given here
        override its own.
      mixture: several tasks to train on at once, instead of source and its related fields.
      source: documents: files, directories or patterns of .txt, .jsonl, .ndjson, .csv, .tsv and .json (an array or one
        object per line; skipped in directories), each also as .gz or .zst, and of .parquet and .array_record;
        tfds:NAME/CONFIG:VERSION@SPLIT, a prepared TFDS dataset; hf:OWNER/NAME/CONFIG@SPLIT of the Hugging Face Hub;
        hf:DIRECTORY@SPLIT, written by save_to_disk; package.module:NAME, a function that returns documents or a TFDS
        builder class (then with @SPLIT); or docstrings, those of installed packages.
      eval_source: held-out documents, in the form of source; null holds out a part of source.
      prepared: directory written by `t5x-lite data prepare` for this task; its shards are read instead of the source.
      text: template that builds a document's text from a record's fields, such as "{title}\\n\\n{text}"; a text file
        has the fields text, file (its name) and folder (the name of its directory).
        {title?} is empty if the title is missing, null or NaN, and {answers:, } joins a list with the string after the
        colon.
      inputs: template of a supervised task's inputs, such as "summarize: {dialogue}"; null trains on text.
      targets: template of a supervised task's targets, such as "{summary}".
      preprocess: package.module:NAME of a function from a record to one record or a list of them, applied before the
        templates; null leaves records unchanged.
      choices: words that replace the values of targets, such as {0: negative, 1: positive}; a record with another
        value is bad.
      labels: classes of a sequence classifier's targets, or of each word in a token classifier's targets; null is the
        words of choices. A record with another label is bad.
      metrics: names of metrics to compute on held-out predictions; `t5x_lite.evaluation.metrics` lists them.
      text_unit: unit of a text file that is one document: file, paragraph (separated by empty lines) or line.
      columns: column names of a .csv or .tsv without a header line.
      bad_records: treatment of records that cannot be read or lack a field: error stops the run, skip drops them.
      max_unpack_ratio: size of the content of a .gz or .zst file relative to the file's at most, if it has over 64 MiB.
      packages: import names of packages for the docstrings source; null is a fixed list of packages that are always
        installed.
      min_characters: minimum length of a document in characters; supervised tasks only drop empty inputs or targets.
      eval_percent: percentage of documents to hold out, selected by a hash of the text or inputs.
      objective: pretraining objective: span_corruption, as in T5; iid_denoising, which masks tokens independently;
        prefix_lm; causal_lm; masked_lm, as in BERT; or ul2, a mixture of span corruption and prefix_lm.
      noise_density: fraction of tokens that span_corruption, iid_denoising and masked_lm corrupt.
      mean_noise_span_length: mean length in tokens of the spans that span_corruption masks.
      tokenizer: conversion of text to token ids.
    """

    base: str | None = None
    mixture: "MixtureConfig | None" = None
    source: str | tuple[str, ...] = DOCSTRINGS
    eval_source: str | tuple[str, ...] | None = None
    prepared: str | None = None
    text: str = "{text}"
    inputs: str | None = None
    targets: str | None = None
    preprocess: str | None = None
    choices: dict[str, str] | None = None
    labels: tuple[str, ...] | None = None
    metrics: tuple[str, ...] = ()
    text_unit: Literal["file", "paragraph", "line"] = "file"
    columns: tuple[str, ...] | None = None
    bad_records: Literal["error", "skip"] = "error"
    max_unpack_ratio: float = 100.0
    packages: tuple[str, ...] | None = None
    min_characters: int = 200
    eval_percent: float = 5.0
    objective: ObjectiveName = "span_corruption"
    noise_density: float = 0.15
    mean_noise_span_length: float = 3.0
    tokenizer: TokenizerConfig = TokenizerConfig()

    def __post_init__(self):
        check_fields(self, "task.", RULES)
        # Sources are recorded as they are written and expanded when they are opened, as in earlier versions.
        expand_home(self, "task.", "prepared")
        _check_objective(self)
        if self.mixture is not None or self.labels is not None:
            from t5x_lite.config.task_checks import check_labels, check_mixture

            check_mixture(self)
            check_labels(self)
        require(
            (self.inputs is None) == (self.targets is None) or self.base is not None,
            f"task.inputs is {self.inputs!r} and task.targets is {self.targets!r}: give both, or neither to train on "
            "task.text",
        )
        require(
            self.inputs is None or self.text == TaskConfig.text,
            f"task.text is {self.text!r} and task.inputs is given: leave out one of them",
        )
        if self.choices is not None:  # YAML keys may be numbers; templates produce text
            object.__setattr__(self, "choices", {str(value): word for value, word in self.choices.items()})
        require(
            self.choices is None or self.targets is not None or self.base is not None,
            "task.choices is given without task.targets, whose values it replaces: give both",
        )
        docstrings = DOCSTRINGS in (self.source, self.eval_source)
        require(
            not docstrings or (self.inputs is None and self.eval_source is None) or self.is_elsewhere(),
            "task.source docstrings is text without fields, of which a part is held out: leave out task.inputs, "
            "task.targets and task.eval_source",
        )

    def is_elsewhere(self) -> bool:
        """Whether the text comes from a base, a mixture or a prepared corpus, not from `source`."""
        return self.base is not None or self.mixture is not None or self.prepared is not None

    def given(self) -> dict[str, Any]:
        """Returns the fields whose values differ from their defaults."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixtureConfig:
    """Mixture of tasks, which are evaluated separately.

    Args:
      tasks: tasks by name; a task may itself be a mixture.
      rates: relative sampling rate of each task; null makes rates proportional to the number of examples.
      cap: maximum number of examples to count per task; only if rates is null.
      temperature: temperature of the proportional rates: 1 leaves them unchanged, higher values even them out; only
        if rates is null.
    """

    tasks: "dict[str, TaskConfig]"
    rates: dict[str, float] | None = None
    cap: int | None = None
    temperature: float = 1.0

    def __post_init__(self):
        from t5x_lite.config.task_checks import check_tasks

        check_tasks(self)


def _check_objective(task: TaskConfig) -> None:
    name = task.objective
    require(
        task.inputs is None or name == TaskConfig.objective,
        f"task.objective is {name}, which is for plain text, and task.inputs is given: leave out one of them",
    )
    for field in ("noise_density", "mean_noise_span_length"):
        value, default = getattr(task, field), getattr(TaskConfig, field)
        require(
            value == default or field in READ_BY_OBJECTIVE[name],
            f"task.{field} is {value}, but task.objective {name} does not use it: leave it out",
        )
