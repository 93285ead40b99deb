# SPDX-License-Identifier: Apache-2.0
"""The text to learn from: one task, or a mixture of several."""

import dataclasses
import re
from typing import Any, Literal

from t5x_lite.config.checks import require, require_at_least_zero, require_positive

TASK_NAME = re.compile(r"[\w-]+")  # of a mixture: names a directory and metrics
DOCSTRINGS = "docstrings"  # the source that every installation has
# The fields of a task that each of its objectives reads.
READ_BY_OBJECTIVE = {
    "span_corruption": ("noise_density", "mean_noise_span_length"),
    "iid_denoising": ("noise_density",),
    "prefix_lm": (),
    "causal_lm": (),
    "masked_lm": ("noise_density",),
    "ul2": (),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """Text to ids.

    Args:
      kind: sentencepiece; huggingface, a tokenizer.json; bytes, ByT5's own ids, the sentinels among them (258 and
        down), no file needed; or bytes_and_sentinels, with ids for the sentinels above the bytes, as SeqIO's extra ids.
      path: a SentencePiece model file or a tokenizer.json, known by its .json; null trains a SentencePiece model on the
        task's text on the first run and keeps it in the run directory.
      vocab_size: ids of a vocabulary trained here, sentinels included.
      num_sentinels: how many <extra_id_N> there are, their ids descending from the top; a file that has its own keeps
        them.
    """

    kind: Literal["sentencepiece", "huggingface", "bytes", "bytes_and_sentinels"] = "sentencepiece"
    path: str | None = None
    vocab_size: int = 8_192
    num_sentinels: int = 100

    def __post_init__(self):
        require_positive("task.tokenizer", self, "vocab_size", "num_sentinels")
        require(
            self.kind != "huggingface" or self.path is not None,
            "task.tokenizer.path is null and task.tokenizer.kind is huggingface: name a tokenizer.json",
        )
        require(
            self.path is None or self.kind in ("sentencepiece", "huggingface"),
            f"task.tokenizer.path is {self.path} and task.tokenizer.kind is {self.kind}, which has no file: leave out "
            "one of them",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """The text to learn from and what is asked of the model.

    Args:
      base: package.module:NAME, a Task or Mixture in Python, such as t5x_lite.tasks.glue:COLA; the fields given here
        replace its own.
      mixture: several tasks to learn from at once, in place of source and what belongs to it.
      source: where documents come from: files, folders or patterns of .txt, .jsonl, .csv, .tsv (with .gz or .zst, or
        without), .parquet and .array_record; or tfds:NAME/CONFIG:VERSION@SPLIT, a prepared data set; or
        hf:OWNER/NAME/CONFIG@SPLIT of the Hugging Face Hub, or hf:DIRECTORY@SPLIT that save_to_disk wrote; or
        package.module:NAME, a function that returns them or a builder class of TFDS (then @SPLIT); or docstrings, those
        of the installed packages.
      eval_source: the same for what is held out; null holds a part of source out.
      prepared: directory that `t5x-lite data prepare` made of this task; its shards are read instead of the source.
      text: a document's text, from the fields of a record: "{title}\\n\\n{text}"; a text file has the fields text, file
        (its name) and folder (the name of the one it is in).
        {title?} is empty where there is no title, and {answers:, } is the items of a list with what follows the colon
        between them.
      inputs: what a supervised task gives the model, such as "summarize: {dialogue}", written as text is; null makes
        it learn from text.
      targets: what a supervised task asks of it, such as "{summary}".
      preprocess: package.module:NAME, a function from a record to the record or list of records that the templates
        fill in; null leaves records as they are.
      choices: words for the values of targets, such as {0: negative, 1: positive}; any other value is a bad record.
      labels: what targets may be, for a model that chooses one for the inputs; or the words that they consist of, for
        one that chooses one for each word of the inputs. Null is the words of choices. Others are bad records.
      metrics: names of what is measured on held-out predictions, as `t5x_lite.evaluation.metrics` lists them.
      text_unit: what is a document in a text file: the file, each paragraph (empty lines between), or each line.
      columns: names of a table's columns, for a .csv or .tsv whose first line has no names.
      bad_records: whether a record that cannot be read, or lacks a field, ends the run (error) or is left out (skip).
      packages: import names the docstrings source reads; null is a fixed list of those that are always installed.
      min_characters: shorter documents are left out; of a supervised task, only empty inputs and targets.
      eval_percent: share of the documents, chosen by hash of the text or inputs, that is held out.
      objective: what is asked of text: span_corruption, T5's; iid_denoising, which removes each token or not without
        regard to its neighbours; prefix_lm and causal_lm, which go on where a text ends or from nothing; masked_lm,
        BERT's; or ul2, a mixture of span corruptions and a prefix LM.
      noise_density: share of the tokens that span_corruption and iid_denoising remove, and masked_lm hides or changes;
        the other objectives do not read it.
      mean_noise_span_length: average tokens a removed span; only span_corruption reads it.
      tokenizer: how text becomes ids.
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
    packages: tuple[str, ...] | None = None
    min_characters: int = 200
    eval_percent: float = 5.0
    objective: Literal["span_corruption", "iid_denoising", "prefix_lm", "causal_lm", "masked_lm", "ul2"] = (
        "span_corruption"
    )
    noise_density: float = 0.15
    mean_noise_span_length: float = 3.0
    tokenizer: TokenizerConfig = TokenizerConfig()

    def __post_init__(self):
        _check_objective(self)
        _check_mixture(self)
        require(
            0 < self.noise_density < 1,
            f"task.noise_density is {self.noise_density}: use a number between 0 and 1; T5 uses 0.15",
        )
        require(
            self.mean_noise_span_length >= 1,
            f"task.mean_noise_span_length is {self.mean_noise_span_length}: use 1 or more; T5 uses 3",
        )
        require(
            0 < self.eval_percent < 100,
            f"task.eval_percent is {self.eval_percent}: use a number between 0 and 100",
        )
        require_at_least_zero("task", self, "min_characters")
        for name in ("source", "eval_source"):
            value = getattr(self, name)
            require(
                value is None or (value and all(value)),
                f"task.{name} is {value!r}: name files, folders, patterns or what else its help lists",
            )
        require(
            (self.inputs is None) == (self.targets is None) or self.base is not None,
            f"task.inputs is {self.inputs!r} and task.targets is {self.targets!r}: give both, or neither to learn from "
            "task.text",
        )
        require(
            self.inputs is None or self.text == TaskConfig.text,
            f"task.text is {self.text!r} beside task.inputs: leave out one of them",
        )
        if self.choices is not None:  # YAML has numbers for keys, and a template makes text of them
            object.__setattr__(self, "choices", {str(value): word for value, word in self.choices.items()})
        require(
            self.choices is None or self.targets is not None or self.base is not None,
            "task.choices is given without task.targets, whose values it names: give both",
        )
        _check_labels(self)
        docstrings = DOCSTRINGS in (self.source, self.eval_source)
        require(
            not docstrings or (self.inputs is None and self.eval_source is None) or self.is_elsewhere(),
            "task.source docstrings has text alone, and holds a part of itself out: leave out task.inputs, "
            "task.targets and task.eval_source",
        )

    def is_elsewhere(self) -> bool:
        """Whether `source` is not what is read: a base, a mixture or a preparation says what is."""
        return self.base is not None or self.mixture is not None or self.prepared is not None

    def given(self) -> dict[str, Any]:
        """The fields that are not at their defaults."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixtureConfig:
    """Tasks that are learned from together, each evaluated by itself.

    Args:
      tasks: by name; a task may be a mixture itself.
      rates: each task's share of the examples, of any sum; null goes by how many examples there are.
      cap: with rates null, examples of a task that count at most.
      temperature: with rates null, 1 goes by the number of examples, and a higher one makes the rates more alike.
    """

    tasks: "dict[str, TaskConfig]"
    rates: dict[str, float] | None = None
    cap: int | None = None
    temperature: float = 1.0

    def __post_init__(self):
        require(bool(self.tasks), "task.mixture.tasks is empty: name one task or more")
        for name, task in self.tasks.items():
            require(
                TASK_NAME.fullmatch(name) is not None,
                f"task.mixture.tasks has the name {name!r}: use letters, digits, _ and - alone",
            )
            require(
                task.tokenizer == TokenizerConfig(),
                f"task.mixture.tasks.{name} has a tokenizer of its own: set task.tokenizer, which all tasks share",
            )
        require_positive("task.mixture", self, "cap", "temperature")
        if self.rates is None:
            return
        require(
            self.rates.keys() == self.tasks.keys(),
            f"task.mixture.rates names {', '.join(self.rates) or 'nothing'}, and the tasks are "
            f"{', '.join(self.tasks)}: give each task a rate",
        )
        for name, rate in self.rates.items():
            require(rate > 0, f"task.mixture.rates.{name} is {rate}: use a number above 0, or leave the task out")
        require(
            self.cap is None and self.temperature == 1.0,
            "task.mixture.rates is given beside cap or temperature, which are for rates by number of examples: leave "
            "out one of them",
        )


# What a mixture has beside its tasks; everything else is a task's own.
READ_BY_MIXTURE = frozenset({"mixture", "tokenizer", "prepared"})


def _check_mixture(task: TaskConfig) -> None:
    """Raises ValueError if a mixture is given beside what each of its tasks has for itself."""
    if task.mixture is None:
        return
    for field in task.given().keys() - READ_BY_MIXTURE:
        raise ValueError(
            f"task.{field} is {getattr(task, field)!r} beside task.mixture: set it for a task, as "
            f"task.mixture.tasks.{next(iter(task.mixture.tasks))}.{field}"
        )


def _check_labels(task: TaskConfig) -> None:
    """Raises ValueError unless the labels are two or more, all different."""
    if task.labels is None:
        return
    require(
        task.targets is not None or task.base is not None,
        "task.labels is given without task.targets, which are made of them: give both",
    )
    words = {label for label in task.labels if label.strip()}
    require(
        len(words) == len(task.labels) > 1,
        f"task.labels is {list(task.labels)}: use two or more, all of them different",
    )


def _check_objective(task: TaskConfig) -> None:
    """Raises ValueError if the objective is unknown, or something is set that nothing would read."""
    name = task.objective
    require(name in READ_BY_OBJECTIVE, f"task.objective is {name!r}: use one of {', '.join(READ_BY_OBJECTIVE)}")
    require(
        task.inputs is None or name == TaskConfig.objective,
        f"task.objective is {name} beside task.inputs, which says what is asked itself: leave out one of them",
    )
    for field in ("noise_density", "mean_noise_span_length"):
        value, default = getattr(task, field), getattr(TaskConfig, field)
        require(
            value == default or field in READ_BY_OBJECTIVE[name],
            f"task.{field} is {value}, and task.objective {name} does not read it: leave it out",
        )
