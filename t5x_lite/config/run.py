# SPDX-License-Identifier: Apache-2.0
"""Configuration of a training run."""

import dataclasses
import math
from typing import Any, Literal

from t5x_lite.config.checks import FRACTION, NON_NEGATIVE, POSITIVE, Rule, between, check_fields, not_empty, require
from t5x_lite.config.defaults import NULL, FilledFloat, FilledInt, FilledText, is_default
from t5x_lite.config.model import ModelOptions
from t5x_lite.config.paths import expand_home
from t5x_lite.config.task import TaskConfig

Factored = Literal["stacked", "large", "none"]
FIRST_REVISION, LATEST_REVISION = 1, 2
MAX_STEP = 2**31 - 1  # of an int32
SCHEDULES = ("rsqrt", "linear", "cosine", "constant")
# Only products of T5X's factors read FACTOR_FIELDS; they do not read `final_fraction`.
FACTOR_FIELDS = ("decay_factor", "steps_per_decay", "steps_per_cycle", "step_offset", "min_learning_rate")
SCHEDULE_FIELDS = ("learning_rate", "warmup_steps", "final_fraction", *FACTOR_FIELDS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Input pipeline.

    Args:
      num_workers: number of processes that prepare batches; 0 prepares them in the training process.
      prefetch_batches: number of batches to prepare in advance, per worker or in a thread of the training process.
      packing: how examples of a supervised task are packed into rows: none; first_fit, into the first row with room;
        or best_fit, longest first, each into the fullest row with room, which wastes the least padding.
      too_long: treatment of examples longer than train.inputs_length or train.targets_length: cut truncates them and
        keeps EOS, skip drops them, error stops the run. Training reports how many there are.
    """

    num_workers: int = 0
    prefetch_batches: int = 2
    too_long: Literal["cut", "skip", "error"] = "cut"
    packing: Literal["none", "first_fit", "best_fit"] = "none"

    def __post_init__(self):
        check_fields(self, "data.", {NON_NEGATIVE: "num_workers", POSITIVE: "prefetch_batches"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Training loop.

    Args:
      num_steps: total number of optimizer steps, including those before a restart; null is that of num_epochs, or
        10000.
      num_epochs: number of passes over the training examples, instead of num_steps; rounded up to whole steps, and
        recorded as num_steps. Not for mixtures.
      batch_size: number of sequences per step, over all devices; null is 128, or 16 with model.pretrained.
      num_microbatches: number of microbatches per step, whose gradients are accumulated.
      inputs_length: length of the encoder inputs in tokens, EOS included.
      targets_length: length of the targets in tokens, EOS included; null is the length the objective produces (114 for
        512 input tokens).
      remat: rematerialisation in the backward pass: none, minimal, full, or a list of tensors to keep.
      offload: tensors kept by remat to store in host memory until the backward pass needs them.
      z_loss: weight of the z-loss, (log Z)^2 per token, which keeps the softmax normaliser near 1.
      label_smoothing: probability mass moved from the target token to all others.
      log_every_steps: number of steps between rows of metrics.jsonl.
      max_nonfinite_steps: number of consecutive steps with NaN or infinite gradients, each skipped, that stops the run.
      skip_spikes_above: skip updates whose gradient norm is above this many times the median of the last 100 steps,
        such as 10; null skips none.
    """

    num_steps: FilledInt = NULL
    num_epochs: float | None = None
    batch_size: FilledInt = NULL
    num_microbatches: int = 1
    inputs_length: int = 512
    targets_length: int | None = None
    remat: str | tuple[str, ...] = "none"
    offload: tuple[str, ...] = ()
    z_loss: float = 1e-4
    label_smoothing: float = 0.0
    log_every_steps: int = 10
    max_nonfinite_steps: int = 5
    skip_spikes_above: float | None = None

    def __post_init__(self):
        counts = (
            "num_steps batch_size num_microbatches inputs_length targets_length log_every_steps max_nonfinite_steps"
        )
        epochs = Rule(lambda value: 0 < value < math.inf, "use a finite number above 0")
        rules = {POSITIVE: counts, NON_NEGATIVE: "z_loss", FRACTION: "label_smoothing", epochs: "num_epochs"}
        rules |= {Rule(lambda value: 1 < value < math.inf, "use a finite number above 1"): "skip_spikes_above"}
        check_fields(self, "train.", rules)
        require(
            self.num_steps is None or self.num_epochs is None,
            f"train.num_steps is {self.num_steps} and train.num_epochs is {self.num_epochs}: leave out one of them, or "
            "set it to null",
        )
        require(
            self.batch_size is None or self.batch_size % self.num_microbatches == 0,
            f"train.batch_size {self.batch_size} is not divisible by train.num_microbatches {self.num_microbatches}: "
            "change one of them",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Optimizer and learning rate schedule.

    Args:
      from_pretrained: continue with the Adafactor state and step number of model.pretrained, a T5X checkpoint.
      name: adafactor with T5X's hyperparameters, adamw_rms (AdamW with updates scaled by the parameter's RMS) or adamw.
      learning_rate: peak learning rate; relative to the parameter's RMS for adafactor, unless
        multiply_by_parameter_scale is false, and adamw_rms. Null is 0.01, or 0.001 with model.pretrained.
      schedule: learning rate schedule: rsqrt, linear, cosine or constant, of which rsqrt is learning_rate *
        sqrt(warmup_steps / max(step, warmup_steps)), as in T5; or a product of T5X's factors, such as
        "constant * linear_warmup * rsqrt_decay". The factors are constant (learning_rate), linear_warmup, rsqrt_decay
        (1 / sqrt(max(step, warmup_steps))), rsqrt_normalized_decay, decay_every, linear_decay and cosine_decay. Null is
        rsqrt, or constant with model.pretrained.
      warmup_steps: number of steps of linear warmup; with rsqrt, of constant learning rate, as in T5X. Null is 10000,
        or 0 with model.pretrained and constant, linear or cosine.
      final_fraction: final learning rate of linear and cosine at train.num_steps, as a fraction of learning_rate.
      decay_factor: multiplier of the factor decay_every; slope per step of linear_decay after the warmup.
      steps_per_decay: number of steps between two decays of the factor decay_every.
      steps_per_cycle: number of steps in which the factor cosine_decay falls from 1 to 0, before it starts again.
      step_offset: number of steps to subtract from the step in a product of factors, such as those of a pretrained
        model.
      min_learning_rate: lowest learning rate of a product of factors.
      factored: matrices whose second moments adafactor factors: stacked, all those of stacked layers, and others if
        both sides are 128 or more, as by T5X's logical rules; large, any whose sides are both 128 or more; or none.
        Null is stacked, or large in revision 1. A mapping from regular expressions, of which the first one found in a
        parameter's path decides, such as {embedding: none, ".*": stacked}, is a map of T5X's.
      multiply_by_parameter_scale: make updates relative to the parameter's RMS; adafactor only; true, false or a
        mapping too.
      clip_norm: maximum global norm of the gradients; null turns clipping off.
      weight_decay: weight decay per step, multiplied by the learning rate except for adafactor.
      beta1: decay rate of the first moment; null means no first moment for adafactor and 0.9 for the others.
      beta2: decay rate of the second moment for adamw and adamw_rms.
      momentum_dtype: dtype of the first moment, float32 or bfloat16. The second moment is always float32, because
        bfloat16 would round its small updates away.
    """

    from_pretrained: bool = False
    name: Literal["adafactor", "adamw_rms", "adamw"] = "adafactor"
    learning_rate: FilledFloat = NULL
    schedule: FilledText = NULL
    warmup_steps: FilledInt = NULL
    final_fraction: float = 0.0
    decay_factor: float = 0.5
    steps_per_decay: int = 20_000
    steps_per_cycle: int = 100_000
    step_offset: int = 0
    min_learning_rate: float = 1e-8
    factored: Factored | dict[str, Factored] | None = None
    multiply_by_parameter_scale: bool | dict[str, bool] = True
    clip_norm: float | None = None
    weight_decay: float = 0.0
    beta1: float | None = None
    beta2: float = 0.999
    momentum_dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self):
        rules = {
            POSITIVE: "learning_rate clip_norm decay_factor",
            NON_NEGATIVE: "final_fraction weight_decay min_learning_rate",
            FRACTION: "beta1 beta2",
            between(1, MAX_STEP): "steps_per_decay steps_per_cycle",
            between(0, MAX_STEP): "warmup_steps step_offset",
        }
        check_fields(self, "optimizer.", rules)
        require(
            self.schedule != "rsqrt" or self.warmup_steps is None or self.warmup_steps > 0,
            "optimizer.warmup_steps is 0, which the rsqrt schedule divides by: use 1 or more, or another schedule",
        )
        _check_schedule(self)
        for field, default in (("factored", None), ("multiply_by_parameter_scale", True)):
            value = getattr(self, field)
            require(
                self.name == "adafactor" or value is default,
                f"optimizer.{field} is {value} and optimizer.name is {self.name}, which does not use it: leave it out",
            )
        require(
            self.momentum_dtype == "float32" or self.name != "adafactor" or self.beta1 is not None,
            f"optimizer.momentum_dtype is {self.momentum_dtype}, but adafactor has no first moment without "
            "optimizer.beta1: set optimizer.beta1, or leave out optimizer.momentum_dtype",
        )


def _check_schedule(cfg: OptimizerConfig) -> None:
    """Raises ValueError if the schedule is unknown, or does not use a field that differs from its default."""
    values = {name: getattr(cfg, name) for name in SCHEDULE_FIELDS}
    given = {name: value for name, value in values.items() if not _is_default(name, value)}
    if cfg.schedule is None:  # checked once it is filled in
        return
    if cfg.schedule not in SCHEDULES:
        from t5x_lite.config.factors import check_factors

        check_factors(cfg.schedule, cfg.warmup_steps, given)
        return
    for name in FACTOR_FIELDS:
        require(
            name not in given,
            f"optimizer.{name} is {given.get(name)}, but only a product of factors in optimizer.schedule uses it, not "
            f"{cfg.schedule}: leave it out",
        )


def _is_default(name: str, value: Any) -> bool:
    default = getattr(OptimizerConfig, name)
    return is_default(name, value) if default is None else value == default


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """Evaluation on held-out examples during training.

    Args:
      every_steps: number of steps between evaluations; the last step is always evaluated.
      num_batches: maximum number of batches of train.batch_size examples per evaluation.
    """

    every_steps: int = 1_000
    num_batches: int = 20

    def __post_init__(self):
        check_fields(self, "eval.", {POSITIVE: "every_steps num_batches"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """Checkpoints during training.

    Args:
      every_steps: number of steps between checkpoints; one is also saved at the end and on SIGTERM or SIGINT.
      keep: number of checkpoints to keep; older ones are deleted.
    """

    every_steps: int = 1_000
    keep: int = 3

    def __post_init__(self):
        check_fields(self, "checkpoint.", {POSITIVE: "every_steps keep"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """Device mesh; an axis of size -1 takes all remaining devices.

    Args:
      data: data-parallel replicas, each with all parameters and its own part of the batch.
      fsdp: fully sharded data-parallel shards, over which parameters, optimizer state and batch are sharded.
      context: sequence shards of the encoder, over which parameters and optimizer state are sharded too; use it when
        the batch is smaller than the device count.
      tensor: tensor-parallel shards, over which heads, feed-forward and vocabulary are sharded.
      slices: number of TPU slices or GPU hosts, connected by a slower network (DCN), which only the data axis spans;
        null detects it.
    """

    data: int = -1
    fsdp: int = 1
    context: int = 1
    tensor: int = 1
    slices: int | None = None

    def __post_init__(self):
        axis_size = Rule(lambda size: size == -1 or size > 0, "use a number above 0, or -1 for all remaining devices")
        check_fields(self, "mesh.", {POSITIVE: "slices", axis_size: "data fsdp context tensor"})
        sizes = {axis: getattr(self, axis) for axis in ("data", "fsdp", "context", "tensor")}
        require(list(sizes.values()).count(-1) <= 1, f"mesh is {sizes}: use -1 for one axis only")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Training run.

    Args:
      run_dir: directory to write everything to; training resumes from the checkpoints it contains.
      seed: random seed of initial parameters, data order, corruption and dropout.
      task: text and objective.
      model: architecture, starting point and sizes.
      data: input pipeline.
      train: training loop.
      optimizer: optimizer and learning rate schedule.
      eval: evaluation on held-out examples during training.
      checkpoint: checkpoints during training.
      mesh: device mesh.
      revision: rules for examples and optimizer states; 2 follows T5X and SeqIO. Runs started before there were
        revisions keep 1, which drops the tokens left over after the last whole chunk of a text and the EOS of a
        decoder's inputs, packs its inputs and targets separately, and has optimizer.factored large. Null is the run's
        own revision, or 2 for a new run.
    """

    run_dir: str
    seed: int = 0
    task: TaskConfig = TaskConfig()
    model: ModelOptions = ModelOptions()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    eval: EvalConfig = EvalConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    mesh: MeshConfig = MeshConfig()
    revision: Literal[1, 2] | None = None

    def __post_init__(self):
        no_directory = not_empty("name a directory for the run, for example --run_dir runs/first")
        known = Rule(
            lambda value: value in (FIRST_REVISION, LATEST_REVISION),
            f"use {FIRST_REVISION} or {LATEST_REVISION}, or the newer t5x-lite that the run was started with",
        )
        check_fields(self, "", {no_directory: "run_dir", known: "revision", between(0, 2**31 - 1): "seed"})
        require(
            "://" not in self.run_dir,
            f"run_dir is {self.run_dir!r}, not a local directory: mount the bucket (gcsfuse, s3fs) and use its path",
        )
        expand_home(self, "", "run_dir")
        require(
            not self.optimizer.from_pretrained or self.model.pretrained is not None,
            "optimizer.from_pretrained is true without model.pretrained: name a T5X checkpoint, or leave it out",
        )

    @property
    def follows_t5x(self) -> bool:
        """Whether the rules are those of T5X and SeqIO."""
        return self.revision != FIRST_REVISION

    def evaluates_at(self, step: int) -> bool:
        """Returns whether a step is followed by an evaluation."""
        return step % self.eval.every_steps == 0 or step == self.train.num_steps
