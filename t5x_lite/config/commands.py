# SPDX-License-Identifier: Apache-2.0
"""Configuration of the commands other than train."""

import dataclasses
import math
from typing import Literal

from t5x_lite.config.checks import NON_NEGATIVE, POSITIVE, Rule, between, check_fields, not_empty, require
from t5x_lite.config.encoding import EncodingConfig, Pooling
from t5x_lite.config.paths import expand_home
from t5x_lite.config.run import MeshConfig
from t5x_lite.config.task import VOCABULARY_BYTES


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Preparation of a task's text.

    Args:
      output: directory for the shards; an interrupted preparation continues in the same directory.
      num_shards: number of shards per source; null is one per 4 million characters, at most 256.
      num_workers: number of worker processes; null is one per CPU core, 0 works in the main process.
      runner: local, or beam for an Apache Beam pipeline (extra beam).
      beam_options: options of the Beam pipeline, such as [--runner=DataflowRunner, --project=mine].
    """

    output: str
    num_shards: int | None = None
    num_workers: int | None = None
    runner: Literal["local", "beam"] = "local"
    beam_options: tuple[str, ...] = ()

    def __post_init__(self):
        no_directory = not_empty("name a directory, for example --output data/books")
        check_fields(self, "--", {no_directory: "output", POSITIVE: "num_shards", NON_NEGATIVE: "num_workers"})
        expand_home(self, "--", "output")
        require(
            self.runner == "beam" or not self.beam_options,
            f"--beam_options is {list(self.beam_options)} and --runner is {self.runner}: add --runner beam, or leave "
            "out --beam_options",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class InferConfig:
    """Inference on a file or in the terminal.

    Args:
      checkpoint: run directory, or a model in any format that t5x-lite convert reads.
      step: step of the checkpoint of a run; null is the newest.
      interactive: start a prompt in the terminal instead of reading a file; /help lists its commands.
      input: any source that task.source accepts (a text file, or one with another ending, has one example per line), or
        - for standard input, whose lines are text or, with a template, JSON objects.
      output: JSON lines file to write, or - for standard output.
      template: template that builds the inputs from a record's fields, such as "question: {question}"; a line of text
        fills its only field. null is the task's template. Without either, a line of text is an input as it stands, and
        a record needs the field inputs, or those of the template that the run was trained with.
      task: package.module:NAME of a Task with templates of inputs and targets, such as t5x_lite.tasks.glue:COLA.
      split: split of the task to read instead of input: train, or eval for held-out records.
      shots: number of solved examples before each input, for few-shot prompts.
      examples: source of records to draw the few-shot examples from, in the form of task.source.
      targets_template: template of the examples' targets; null is "{targets}", or the task's template.
      balanced: draw the same number of few-shot examples for each distinct target.
      shot_template: format of a few-shot example; the input itself is formatted with empty targets.
      shot_separator: separator between few-shot examples.
      inputs_length: maximum length of a prompt in tokens; few-shot examples are dropped to fit; null is the length used
        in training, if the checkpoint stores it.
      batch_size: number of inputs decoded at once per process, rounded up to a multiple of its devices.
      mesh: device mesh of each process.
      log_probs: write the tokens of the answer and their log-probabilities; not available with beam search.
      trust: run directory whose config.yaml may name code to import, package.module:NAME; null imports only what the
        options name.
    """

    checkpoint: str
    step: int | None = None
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
    trust: str | None = None

    def __post_init__(self):
        no_file = not_empty("name a file, or - for a pipe")
        rules = {no_file: "input output", POSITIVE: "batch_size inputs_length", NON_NEGATIVE: "shots step"}
        check_fields(self, "--", rules)
        expand_home(self, "--", "checkpoint input output trust")
        require(
            self.split is None or (self.task is not None and self.input == "-"),
            f"--split is {self.split}, --task is {self.task} and --input is {self.input}: give --split with --task and "
            "without --input",
        )
        require(
            (self.shots > 0) == (self.examples is not None),
            f"--shots is {self.shots} and --examples is {self.examples}: give both, or neither",
        )
        if self.interactive:
            defaults = {"input": "-", "output": "-", "log_probs": False}
            given = {f"--{name}": getattr(self, name) for name in defaults if getattr(self, name) != defaults[name]}
            values = " and ".join(f"{name} is {value}" for name, value in given.items())
            require(
                not given,
                f"--interactive reads and answers in the terminal, but {values}: leave out --interactive, or "
                f"{' and '.join(given)}",
            )

    @property
    def has_template(self) -> bool:
        """Whether the inputs are built by a template of the options, not read as they stand."""
        return self.template is not None or self.task is not None

    @property
    def reads_pipe(self) -> bool:
        """Whether the inputs come from standard input, which can be read only once."""
        return self.input == "-" and self.split is None


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    """Embeddings of the texts of a file.

    Args:
      checkpoint: run directory, or a model with an encoder in any format that t5x-lite convert reads.
      step: step of the checkpoint of a run; null is the newest.
      input: any source that task.source accepts (a text file, or one with another ending, has one text per line), or -
        for standard input, whose lines are text or, with a template, JSON objects.
      output: JSON lines file to write, which the same command resumes; a .npy file, which is always written from the
        start; or - for standard output.
      template: template that builds the texts from a record's fields, such as "{title} {body}"; null is as in infer.
      task: package.module:NAME of a Task with a template of inputs.
      split: split of the task to read instead of input: train, or eval for held-out records.
      pooling: embedding of a text: mean, over its tokens' last hidden states, EOS included; first, that of the first
        token; or none, those of every token; null follows the model's directory, or else is mean.
      normalise: divide vectors by their L2 norm; null follows the model's directory, or else is true, or false without
        pooling.
      dimensions: number of leading components of a vector to keep, normalised again; null keeps all.
      max_tokens: number of tokens to which texts are cut, EOS included; null follows the model's directory, or else
        cuts none.
      batch_size: number of texts to encode at once per process, rounded up to a multiple of its devices.
      mesh: device mesh of each process.
      trust: run directory whose config.yaml may name code to import, package.module:NAME; null imports only what the
        options name.
    """

    checkpoint: str
    step: int | None = None
    input: str = "-"
    output: str = "-"
    template: str | None = None
    task: str | None = None
    split: Literal["train", "eval"] | None = None
    pooling: Pooling | None = None
    normalise: bool | None = None
    dimensions: int | None = None
    max_tokens: int | None = None
    batch_size: int = 16
    mesh: MeshConfig = MeshConfig()
    trust: str | None = None

    def __post_init__(self):
        check_fields(self, "--", {POSITIVE: "batch_size dimensions max_tokens", NON_NEGATIVE: "step"})
        expand_home(self, "--", "checkpoint input output trust")
        require(
            not (self.writes_array and self.pooling == "none"),
            f"--pooling is none and --output is {self.output}, but texts have different numbers of tokens: write a "
            ".jsonl file",
        )
        _ = self.reading, self.encoding  # which check the rest

    @property
    def writes_array(self) -> bool:
        """Whether the output is a NumPy array, not JSON lines."""
        return self.output.lower().endswith(".npy")

    @property
    def reading(self) -> InferConfig:
        """The options of `infer` that read the same inputs."""
        names = ("checkpoint", "input", "output", "template", "task", "split", "trust")
        return InferConfig(**{name: getattr(self, name) for name in names})

    @property
    def encoding(self) -> EncodingConfig:
        """How texts become vectors."""
        names = (field.name for field in dataclasses.fields(EncodingConfig))
        return EncodingConfig(**{name: getattr(self, name) for name in names})


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompileConfig:
    """Ahead-of-time compilation.

    Args:
      topology: TPU topology such as v5e:16x16, v5p:8x8x8 or v6e:16x16, or the GPUs of a host such as h100:8; null
        compiles for the devices of this machine.
      slices: number of such topologies, connected by the data-centre network.
      what: program to compile: train, the training step; or generate, greedy decoding of train.targets_length tokens
        for train.batch_size inputs.
      output: directory for the program as text (program.hlo.txt) and compiled (program.bin), and for the report; null
        writes no files.
    """

    topology: str | None = None
    slices: int = 1
    what: Literal["train", "generate"] = "train"
    output: str | None = None

    def __post_init__(self):
        check_fields(self, "--", {POSITIVE: "slices"})
        expand_home(self, "--", "output")
        require(
            self.topology is not None or self.slices == 1,
            f"--slices is {self.slices} but --topology is not given: add the topology of one slice",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """HTTP server.

    Args:
      checkpoint: run directory, or a model in any format that t5x-lite convert reads.
      step: step of the checkpoint of a run; null is the newest.
      host: address to listen on; 127.0.0.1 accepts connections from this machine only, 0.0.0.0 from all networks.
      port: port to listen on; 0 chooses a free one.
      model_name: name of the model for clients; null is the name of the checkpoint directory.
      batch_size: maximum number of sequences to decode at once, rounded up to a multiple of the devices.
      mesh: device mesh.
      max_queue: maximum number of prompts to queue; requests beyond it are rejected with status 429.
      max_input_tokens: maximum length of a prompt in tokens.
      max_new_tokens: maximum length of a completion in tokens.
      max_body_bytes: maximum size of a request body in bytes.
      max_connections: maximum number of connections at once, fewer if the limit of open files is low; a new one takes
        the place of the one that has waited longest without a whole request.
      receive_seconds: time limit in seconds for a request's headers and again for its body, after which a connection is
        closed, as is an idle one, and one whose client does not read.
      timeout_seconds: time limit of a request in seconds; slower requests are cancelled with status 504.
      shutdown_seconds: time in seconds to finish running requests after SIGTERM or Ctrl-C.
      batch_wait_ms: time in milliseconds to wait for further requests before a batch starts.
      warm_up_tokens: input length in tokens up to which programs are compiled before the server is ready; 0 turns
        warm-up off.
      max_programs: maximum number of compiled programs to keep; those not used for longest are freed.
      pooling: embedding of a text: mean, over its tokens' last hidden states, or first, that of the first token; null
        follows the model's directory, or else is mean.
      chat_template: file with the Jinja template that turns a conversation into a prompt; null takes that of the
        model's directory; without one, a conversation is a single message.
      api_key: bearer token that requests must carry; null uses the environment variable T5X_LITE_API_KEY, if set.
      allowed_hosts: without a key, names under which clients may address the server besides localhost, its host and IP
        addresses, such as [models.example.org]; ["*"] allows all.
      log_requests: whether to write a line per request, without its text, to standard error.
    """

    checkpoint: str
    step: int | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    model_name: str | None = None
    batch_size: int = 16
    mesh: MeshConfig = MeshConfig()
    max_queue: int = 256
    max_input_tokens: int = 2048
    max_new_tokens: int = 512
    max_body_bytes: int = 2**20
    max_connections: int = 512
    receive_seconds: float = 20.0
    timeout_seconds: float = 120.0
    shutdown_seconds: float = 30.0
    batch_wait_ms: float = 5.0
    warm_up_tokens: int = 32
    max_programs: int = 64
    pooling: Literal["mean", "first"] | None = None
    chat_template: str | None = None
    api_key: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    log_requests: bool = True

    def __post_init__(self):
        rules = {
            not_empty("name a run directory or a model"): "checkpoint",
            not_empty("use 127.0.0.1 for this machine only"): "host",
            Rule(lambda port: 0 <= port < 2**16, "use a number from 1 to 65535, or 0 for a free port"): "port",
            not_empty("give a name, or leave it out"): "model_name",
            not_empty("name a file with a Jinja template, or leave it out"): "chat_template",
            not_empty("give a secret, or leave it out"): "api_key",
            POSITIVE: "batch_size max_queue max_input_tokens max_new_tokens max_body_bytes",
            Rule(lambda number: number > 0, "use a number above 0"): "max_connections max_programs",
            Rule(
                lambda names: not any(set(name) & set("/:@ ") or not name for name in names),
                "use names without ports, such as [models.example.org], or [*] for all",
            ): "allowed_hosts",
            NON_NEGATIVE: "step warm_up_tokens",
            Rule(lambda value: 0 < value < math.inf, "use a finite number above 0"): "timeout_seconds receive_seconds",
            Rule(
                lambda value: 0 <= value < math.inf, "use 0 or a finite number above 0"
            ): "shutdown_seconds batch_wait_ms",
        }
        check_fields(self, "--", rules)
        expand_home(self, "--", "checkpoint chat_template")
        require(
            self.warm_up_tokens <= self.max_input_tokens,
            f"--warm_up_tokens is {self.warm_up_tokens}: use at most --max_input_tokens, {self.max_input_tokens}",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttentionConfig:
    """Attention maps and token probabilities of one text.

    Args:
      checkpoint: run directory, or a model in any format that t5x-lite convert reads.
      step: step of the checkpoint of a run; null is the newest.
      text: input text; a decoder-only model continues it; for a masked_lm, <extra_id_0> masks a token.
      target: text to score, or, for a classifier, labels; null is the model's own output.
      output: file to write, as .html or .png; a name without a suffix writes both.
      max_new_tokens: maximum number of tokens to decode if there is no target.
      top: number of most probable tokens to list per step.
      layers: indices of the layers to show, from 0, such as [0, 5]; null shows all.
      heads: indices of the heads to show, from 0; null shows all.
      json: print one JSON object instead of a table.
    """

    checkpoint: str
    text: str
    step: int | None = None
    target: str | None = None
    output: str = "attention"
    max_new_tokens: int = 64
    top: int = 5
    layers: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None
    json: bool = False

    def __post_init__(self):
        rules = {
            Rule(lambda text: bool(text.strip()), "give the model a text to read"): "text",
            Rule(
                lambda path: path.rpartition("/")[2] not in ("", ".", "..", ".html", ".png"),
                "name a file such as attention.html, or attention for both .html and .png",
            ): "output",
            POSITIVE: "max_new_tokens top",
            NON_NEGATIVE: "step",
            Rule(
                lambda indices: indices and min(indices) >= 0 and len(set(indices)) == len(indices),
                "use distinct indices from 0, such as [0, 3], or leave it out for all",
            ): "layers heads",
        }
        check_fields(self, "--", rules)
        expand_home(self, "--", "checkpoint output")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerTrainConfig:
    """SentencePiece training.

    Args:
      input: documents, in the form of task.source.
      output: model file to write, such as english.model; its list of pieces is written to english.vocab.
      vocab_size: vocabulary size, sentinels included.
      model_type: SentencePiece algorithm: unigram, as in T5, or bpe.
      num_sentinels: number of sentinels, <extra_id_N>, that are appended when the model is loaded.
      character_coverage: fraction of the text's characters to cover with pieces of their own, from 0.98 to 1.
      byte_fallback: encode characters without a piece as UTF-8 bytes, which takes 256 pieces, instead of as unknown.
      max_bytes: maximum amount of text to train on in bytes; a longer input is sampled at regular intervals.
      text: template that builds a document's text from a record's fields, such as "{title}\\n\\n{text}"; a text file
        has the field text.
      text_unit: unit of a text file that is one document: file, paragraph (separated by empty lines) or line.
      columns: column names of a .csv or .tsv without a header line.
      bad_records: treatment of records that cannot be read or lack a field: error stops the training, skip drops them.
      max_unpack_ratio: size of the content of a .gz or .zst file relative to the file's at most, if it has over 64 MiB.
      packages: import names of packages for the docstrings source; null is a fixed list of packages that are always
        installed.
      overwrite: replace existing files.
    """

    input: tuple[str, ...]
    output: str
    vocab_size: int
    model_type: Literal["unigram", "bpe"] = "unigram"
    num_sentinels: int = 100
    character_coverage: float = 0.9995
    byte_fallback: bool = False
    max_bytes: int = VOCABULARY_BYTES
    text: str = "{text}"
    text_unit: Literal["file", "paragraph", "line"] = "file"
    columns: tuple[str, ...] | None = None
    bad_records: Literal["error", "skip"] = "error"
    max_unpack_ratio: float = 100.0
    packages: tuple[str, ...] | None = None
    overwrite: bool = False

    def __post_init__(self):
        rules = {
            not_empty("name files, directories, patterns or another source listed for task.source"): "input",
            POSITIVE: "vocab_size num_sentinels max_bytes max_unpack_ratio",
            between(0.98, 1): "character_coverage",
            Rule(
                lambda path: bool(path) and not path.endswith((".vocab", ".json", "/")),
                "name a file such as english.model",
            ): "output",
        }
        check_fields(self, "--", rules)
        expand_home(self, "--", "output")
