# SPDX-License-Identifier: Apache-2.0
"""One training run."""

import dataclasses
from typing import Literal

from t5x_lite.config.checks import require, require_at_least_zero, require_positive
from t5x_lite.config.model import ModelOptions
from t5x_lite.config.task import TaskConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """How batches are made.

    Args:
      num_workers: processes that prepare batches; 0 prepares them in the training process itself.
      prefetch_batches: batches prepared ahead, by each worker or by a thread of the training process.
      packing: whether a row of a supervised task holds one example (none), or as many as fit: each in turn in the
        first row with room (first_fit), or the longest first in the fullest row with room (best_fit), which wastes
        least.
      too_long: what becomes of a pair that is longer than train.inputs_length or train.targets_length: it is cut, EOS
        kept; or left out of training (skip); or ends the run (error). Training says how many there are.
    """

    num_workers: int = 0
    prefetch_batches: int = 2
    too_long: Literal["cut", "skip", "error"] = "cut"
    packing: Literal["none", "first_fit", "best_fit"] = "none"

    def __post_init__(self):
        require_at_least_zero("data", self, "num_workers")
        require_positive("data", self, "prefetch_batches")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The training loop.

    Args:
      num_steps: optimizer updates in the whole run, those before a restart included.
      batch_size: sequences a step, over all devices.
      num_microbatches: parts a batch is cut into, their gradients summed before the one update.
      inputs_length: tokens the encoder reads, EOS included.
      targets_length: tokens the decoder predicts, EOS included; null is what the objective yields (114 for 512).
      remat: what the backward pass recomputes rather than keeps: none, minimal, full, or a list of tensors to keep.
      offload: which of the tensors that remat keeps are kept in the host's memory; the backward pass fetches them.
      z_loss: coefficient of (log Z)^2 a token, which keeps the logits' normaliser near 0.
      label_smoothing: probability mass moved from the target to the other tokens.
      log_every_steps: steps between rows of metrics.jsonl.
      max_nonfinite_steps: updates in a row with a NaN or infinite gradient, each skipped, that end the run.
    """

    num_steps: int = 10_000
    batch_size: int = 128
    num_microbatches: int = 1
    inputs_length: int = 512
    targets_length: int | None = None
    remat: str | tuple[str, ...] = "none"
    offload: tuple[str, ...] = ()
    z_loss: float = 1e-4
    label_smoothing: float = 0.0
    log_every_steps: int = 10
    max_nonfinite_steps: int = 5

    def __post_init__(self):
        sizes = ("num_steps", "batch_size", "num_microbatches", "inputs_length", "targets_length")
        require_positive("train", self, *sizes, "log_every_steps", "max_nonfinite_steps")
        require_at_least_zero("train", self, "z_loss")
        require(
            0 <= self.label_smoothing < 1,
            f"train.label_smoothing is {self.label_smoothing}: use a number from 0 up to, not including, 1",
        )
        require(
            self.batch_size % self.num_microbatches == 0,
            f"train.batch_size {self.batch_size} is not divisible by train.num_microbatches {self.num_microbatches}: "
            "change one of them",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How gradients become updates.

    Args:
      from_pretrained: whether Adafactor goes on with the state, and at the step, of model.pretrained, a checkpoint of
        T5X; else it begins anew.
      name: adafactor with T5X's numbers, adamw_rms (AdamW scaled by each parameter's RMS), or plain adamw.
      learning_rate: the schedule's peak; Adafactor's and adamw_rms's is relative to each parameter's RMS.
      schedule: rsqrt is learning_rate * sqrt(warmup_steps / max(step, warmup_steps)), T5's own after its scaling.
      warmup_steps: of a linear climb from 0 (rsqrt: of a flat start, as T5X has it).
      final_fraction: of learning_rate, reached at train.num_steps by linear and cosine.
      clip_norm: largest global norm of the gradients; null does not clip.
      weight_decay: share of each parameter removed a step, times the learning rate (adafactor: not times it).
      beta1: decay of the first moment; null is none for adafactor and 0.9 for the others.
      beta2: decay of the second moment of adamw and adamw_rms.
      momentum_dtype: what the first moment is kept in, float32 or bfloat16; in bfloat16 the second one, whose steps are
        1 - beta2 of its size, would not move.
    """

    from_pretrained: bool = False
    name: Literal["adafactor", "adamw_rms", "adamw"] = "adafactor"
    learning_rate: float = 0.01
    schedule: Literal["rsqrt", "linear", "cosine", "constant"] = "rsqrt"
    warmup_steps: int = 10_000
    final_fraction: float = 0.0
    clip_norm: float | None = None
    weight_decay: float = 0.0
    beta1: float | None = None
    beta2: float = 0.999
    momentum_dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self):
        require_positive("optimizer", self, "learning_rate", "clip_norm")
        require_at_least_zero("optimizer", self, "warmup_steps", "final_fraction", "weight_decay")
        require(
            self.schedule != "rsqrt" or self.warmup_steps > 0,
            "optimizer.warmup_steps is 0: the rsqrt schedule divides by it; use 1 or more, or another schedule",
        )
        require(
            self.momentum_dtype == "float32" or self.name != "adafactor" or self.beta1 is not None,
            f"optimizer.momentum_dtype is {self.momentum_dtype}, and adafactor keeps no first moment without "
            "optimizer.beta1: give it, or leave this out",
        )
        for field in ("beta1", "beta2"):
            value = getattr(self, field)
            require(value is None or 0 <= value < 1, f"optimizer.{field} is {value}: use a number from 0 up to 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """Evaluation on the held-out split.

    Args:
      every_steps: steps between evaluations; one more is made at the end.
      num_batches: batches of train.batch_size held-out sequences an evaluation reads, at most.
    """

    every_steps: int = 1_000
    num_batches: int = 20

    def __post_init__(self):
        require_positive("eval", self, "every_steps", "num_batches")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """Saving.

    Args:
      every_steps: steps between checkpoints; one more is made at the end and on SIGTERM or SIGINT.
      keep: newest checkpoints kept.
    """

    every_steps: int = 1_000
    keep: int = 3

    def __post_init__(self):
        require_positive("checkpoint", self, "every_steps", "keep")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """Devices along each axis of the mesh; -1 in one of them takes what is left.

    Args:
      data: copies of the parameters, each with its own part of the batch.
      fsdp: parts the parameters, the optimizer state and the batch are cut into.
      context: parts the parameters, the optimizer state and the encoder's tokens are cut into: for inputs so long that
        there is less than one a device.
      tensor: parts heads, feed-forward and vocabulary are cut into.
      slices: groups of devices with a fast network within and a slower one (DCN) between, over which data alone is cut;
        null is what the devices themselves say.
    """

    data: int = -1
    fsdp: int = 1
    context: int = 1
    tensor: int = 1
    slices: int | None = None

    def __post_init__(self):
        require_positive("mesh", self, "slices")
        sizes = {axis: getattr(self, axis) for axis in ("data", "fsdp", "context", "tensor")}
        for axis, size in sizes.items():
            require(size == -1 or size > 0, f"mesh.{axis} is {size}: use a number above 0, or -1 for what is left")
        require(
            list(sizes.values()).count(-1) <= 1, f"mesh is {sizes}: only one axis can be -1, that takes what is left"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One training run.

    Args:
      run_dir: where everything is written; the same directory again goes on where it stopped.
      seed: of the initial parameters, the order of the data, the corruption and dropout.
      task: the text and the objective.
      model: the architecture.
      data: how batches are made.
      train: the loop.
      optimizer: how gradients become updates.
      eval: evaluation on the held-out split.
      checkpoint: saving.
      mesh: devices along each axis.
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

    def __post_init__(self):
        require(bool(self.run_dir), "run_dir is empty: name a directory for the run, for example --run_dir runs/first")
        require(
            "://" not in self.run_dir,
            f"run_dir is {self.run_dir!r}: it is a directory; mount the bucket (gcsfuse, s3fs) and name where it is",
        )
        require(0 <= self.seed < 2**31, f"seed is {self.seed}: use a number from 0 to 2147483647")
