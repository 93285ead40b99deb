# SPDX-License-Identifier: Apache-2.0
"""What the commands beside training are asked for."""

import dataclasses
from typing import Literal

from t5x_lite.config.checks import require, require_positive
from t5x_lite.config.run import MeshConfig

# EM takes time in proportion to the text, and 8,192 ids from 2 MB of docstrings need 0.8% more tokens than those from
# 4 MB.
TRAINING_BYTES = 2_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """One preparation of a task's text.

    Args:
      output: directory for the shards; the same one again goes on where it stopped.
      num_shards: into how many a source is cut; null is one for every 4 million characters, 256 at most.
      num_workers: processes; null is one a core, 0 works in the main process.
      runner: local, or beam for an Apache Beam pipeline (extra beam).
      beam_options: Beam's own options, such as [--runner=DataflowRunner, --project=mine].
    """

    output: str
    num_shards: int | None = None
    num_workers: int | None = None
    runner: Literal["local", "beam"] = "local"
    beam_options: tuple[str, ...] = ()

    def __post_init__(self):
        require(bool(self.output), "output is empty: name a directory, for example --output data/books")
        require(
            self.num_shards is None or self.num_shards > 0, f"num_shards is {self.num_shards}: use a number above 0"
        )
        require(self.num_workers is None or self.num_workers >= 0, f"num_workers is {self.num_workers}: use 0 or more")
        require(
            self.runner == "beam" or not self.beam_options,
            f"beam_options is {list(self.beam_options)} and runner is {self.runner}: add --runner beam, or leave "
            "it out",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class InferConfig:
    """One pass over a file, or over what is typed.

    Args:
      checkpoint: a run directory, or any model that t5x-lite convert reads.
      interactive: a prompt in the terminal in place of files; /help there lists what it knows.
      input: a file with an example a line, - for standard input; a .jsonl file has records; or any other source of
        records, named as in task.source: tables, folders, patterns, tfds:NAME@SPLIT, hf:NAME@SPLIT.
      output: the JSON lines, - for standard output.
      template: the inputs, from the fields of a record: "question: {question}"; null is "{inputs}", or the task's.
      task: package.module:NAME, a Task whose inputs and targets are the templates, such as t5x_lite.tasks.glue:COLA.
      split: in place of input, the records that the task learns from (train), or those it holds out (eval).
      shots: how many examples with their answers come before each input.
      examples: files of records to draw them from, named as in task.source.
      targets_template: the answers, from the fields of a record of examples; null is "{targets}", or the task's.
      balanced: whether each different answer comes as often as the others among the examples.
      shot_template: how an example is laid out; what is to be answered gets it with empty targets.
      shot_separator: what is between examples.
      inputs_length: most tokens of a prompt, for which examples are left out; null is what the model was trained with,
        where it says.
      batch_size: lines decoded at once by a process; rounded up to as many on each of its devices.
      mesh: how a process arranges its own devices.
      log_probs: whether rows get the answer's tokens and their log-probabilities; not of beams.
    """

    checkpoint: str
    interactive: bool = False
    input: str = "-"
    output: str = "-"
    template: str | None = None
    task: str | None = None
    split: Literal["train", "eval"] | None = None
    shots: int = 0
    examples: str | None = None
    targets_template: str | None = None
    balanced: bool = False
    shot_template: str = "{inputs}\n{targets}"
    shot_separator: str = "\n\n"
    inputs_length: int | None = None
    batch_size: int = 16
    mesh: MeshConfig = MeshConfig()
    log_probs: bool = False

    def __post_init__(self):
        require(self.batch_size > 0, f"batch_size is {self.batch_size}: use a number above 0")
        require(self.shots >= 0, f"shots is {self.shots}: use 0 or more")
        require(
            self.split is None or (self.task is not None and self.input == "-"),
            f"split is {self.split}, task {self.task} and input {self.input}: give split with task alone",
        )
        require(
            (self.shots > 0) == (self.examples is not None),
            f"shots is {self.shots} and examples is {self.examples}: give both, or neither",
        )
        require(
            self.inputs_length is None or self.inputs_length > 0,
            f"inputs_length is {self.inputs_length}: use a number above 0",
        )
        if self.interactive:
            defaults = {"input": "-", "output": "-", "log_probs": False}
            given = {f"--{name}": getattr(self, name) for name in defaults if getattr(self, name) != defaults[name]}
            what = " and ".join(f"{name} is {value}" for name, value in given.items())
            require(
                not given,
                f"--interactive answers in the terminal what is typed there, and {what}: leave out --interactive, or "
                f"{' and '.join(given)}",
            )

    @property
    def reads_pipe(self) -> bool:
        """Whether the inputs come from standard input, which can be read once."""
        return self.input == "-" and self.split is None


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompileConfig:
    """One compilation for machines that are not at hand.

    Args:
      topology: TPU chips and how they are wired, as v5e:16x16, v5p:8x8x8 or v6e:16x16, or the GPUs of a host, as
        h100:8; null compiles for the devices of this machine.
      slices: how many of them, connected over the data-centre network.
      what: the train step, or generation of train.targets_length tokens for train.batch_size inputs.
      output: directory for the program as text (program.hlo.txt), compiled (program.bin), and the report; null writes
        nothing.
    """

    topology: str | None = None
    slices: int = 1
    what: Literal["train", "generate"] = "train"
    output: str | None = None

    def __post_init__(self):
        require_positive("compile", self, "slices")
        require(
            self.topology is not None or self.slices == 1,
            f"slices is {self.slices} and topology is null: name the topology of a slice",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """One server.

    Args:
      checkpoint: a run directory, or any model that t5x-lite convert reads.
      host: address to listen at; 127.0.0.1 is this machine alone, 0.0.0.0 all its networks.
      port: to listen at; 0 is any free one.
      model_name: what clients call the model; null is the checkpoint's own name, without its directory.
      batch_size: sequences decoded at once.
      max_queue: texts that may wait; those who ask for more are told to come back (429).
      max_input_tokens: most tokens of a prompt.
      max_new_tokens: most tokens of an answer.
      max_body_bytes: most bytes of a request.
      timeout_seconds: an answer that takes longer is given up (504).
      shutdown_seconds: how long SIGTERM or Ctrl-C wait for what is being answered.
      batch_wait_ms: how long a free model waits for more requests once it has one.
      warm_up_tokens: inputs up to so many tokens are compiled for before the server is ready; 0 compiles nothing.
      api_key: bearer token that requests must have; null is the environment's T5X_LITE_API_KEY, or none.
    """

    checkpoint: str
    host: str = "127.0.0.1"
    port: int = 8000
    model_name: str | None = None
    batch_size: int = 16
    max_queue: int = 256
    max_input_tokens: int = 2048
    max_new_tokens: int = 512
    max_body_bytes: int = 2**20
    timeout_seconds: float = 120.0
    shutdown_seconds: float = 30.0
    batch_wait_ms: float = 5.0
    warm_up_tokens: int = 32
    api_key: str | None = None

    def __post_init__(self):
        require(bool(self.checkpoint), "--checkpoint is empty: name a run directory or a model")
        require(bool(self.host), "--host is empty: use 127.0.0.1 for this machine alone")
        require(0 <= self.port < 2**16, f"--port is {self.port}: use one from 1 to 65535, or 0 for any free one")
        require(self.model_name != "", "--model_name is empty: give a name, or leave it out")
        require(self.api_key != "", "--api_key is empty: give a secret, or leave it out")
        for field in ("batch_size", "max_queue", "max_input_tokens", "max_new_tokens", "max_body_bytes"):
            require(getattr(self, field) > 0, f"--{field} is {getattr(self, field)}: use a number above 0")
        require(
            0 < self.timeout_seconds < float("inf"),
            f"--timeout_seconds is {self.timeout_seconds}: use a number above 0",
        )
        for field in ("shutdown_seconds", "batch_wait_ms", "warm_up_tokens"):
            value = getattr(self, field)
            require(0 <= value < float("inf"), f"--{field} is {value}: use 0 or more")
        require(
            self.warm_up_tokens <= self.max_input_tokens,
            f"--warm_up_tokens is {self.warm_up_tokens} and --max_input_tokens {self.max_input_tokens}: use at most "
            "that many",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttentionConfig:
    """One look at what a model attends to.

    Args:
      checkpoint: a run directory, or any model that t5x-lite convert reads.
      text: what the model reads; of a decoder alone, what it goes on with; of a masked_lm, <extra_id_0> hides a token.
      target: what it is asked to predict, a classifier's labels; null is what the model itself chooses.
      output: the files to write, without a suffix for a page and a picture (NAME.html, NAME.png), or one of the two.
      max_new_tokens: at most so many are decoded where there is no target.
      top: how many of the most probable tokens are listed a step.
      layers: numbers of the layers to show, from 0, such as [0, 5]; null is all.
      heads: numbers of the heads to show, from 0; null is all.
      json: whether to print one JSON object in place of a table.
    """

    checkpoint: str
    text: str
    target: str | None = None
    output: str = "attention"
    max_new_tokens: int = 64
    top: int = 5
    layers: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None
    json: bool = False

    def __post_init__(self):
        require(bool(self.text.strip()), "--text is empty: give the model something to read")
        name = self.output.rpartition("/")[2]
        require(
            name not in ("", ".", "..", ".html", ".png"),
            f"--output is {self.output!r}: name a file such as attention.html, or attention for a page and a picture",
        )
        for field in ("max_new_tokens", "top"):
            require(getattr(self, field) > 0, f"--{field} is {getattr(self, field)}: use a number above 0")
        for field in ("layers", "heads"):
            chosen = getattr(self, field)
            require(
                chosen is None or (len(chosen) > 0 and min(chosen) >= 0 and len(set(chosen)) == len(chosen)),
                f"--{field} is {None if chosen is None else list(chosen)}: name each once, counted from 0, such as "
                "[0, 3]; or leave it out for all",
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerTrainConfig:
    """Training of a SentencePiece vocabulary.

    Args:
      input: where documents come from, named as in task.source.
      output: the model file to write, such as english.model; the list of its pieces goes to english.vocab beside it.
      vocab_size: ids, sentinels included.
      model_type: how pieces are found: unigram, as T5's, or bpe.
      num_sentinels: how many <extra_id_N> are appended when the model is loaded.
      character_coverage: share of the text whose characters get pieces of their own, from 0.98 to 1.
      byte_fallback: whether a character without a piece becomes its UTF-8 bytes, 256 of the pieces, and not unknown.
      max_bytes: of text to train on; of a longer text, lines at even distances.
      text: a document's text, from the fields of a record: "{title}\\n\\n{text}"; a text file has the field text.
      text_unit: what is a document in a text file: the file, each paragraph (empty lines between), or each line.
      columns: names of a table's columns, for a .csv or .tsv whose first line has no names.
      bad_records: whether a record that cannot be read, or lacks a field, ends the training (error) or is left out
        (skip).
      packages: import names the docstrings source reads; null is a fixed list of those that are always installed.
      overwrite: whether files that exist are replaced.
    """

    input: tuple[str, ...]
    output: str
    vocab_size: int
    model_type: Literal["unigram", "bpe"] = "unigram"
    num_sentinels: int = 100
    character_coverage: float = 0.9995
    byte_fallback: bool = False
    max_bytes: int = TRAINING_BYTES
    text: str = "{text}"
    text_unit: Literal["file", "paragraph", "line"] = "file"
    columns: tuple[str, ...] | None = None
    bad_records: Literal["error", "skip"] = "error"
    packages: tuple[str, ...] | None = None
    overwrite: bool = False

    def __post_init__(self):
        if not self.input or not all(self.input):
            raise ValueError(
                f"--input is {list(self.input)}: name files, folders, patterns or what else the help of task.source "
                "lists"
            )
        for field in ("vocab_size", "num_sentinels", "max_bytes"):
            if getattr(self, field) <= 0:
                raise ValueError(f"--{field} is {getattr(self, field)}: use a number above 0")
        if not 0.98 <= self.character_coverage <= 1:
            raise ValueError(f"--character_coverage is {self.character_coverage}: use a number from 0.98 to 1")
        if not self.output or self.output.endswith((".vocab", ".json", "/")):
            raise ValueError(f"--output is {self.output!r}: name a file such as english.model")
