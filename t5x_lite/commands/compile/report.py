# SPDX-License-Identifier: Apache-2.0
"""The report on a compiled program: its memory, FLOPs, traffic and the resulting speed bounds."""

import dataclasses
import math
from typing import Any

import jax
from jax.sharding import Mesh

from t5x_lite.commands.compile.compiling import Compiled
from t5x_lite.config import ModelConfig, RunConfig, TrainConfig
from t5x_lite.data.converters import stack_lengths
from t5x_lite.model.kernels.choice import is_fused
from t5x_lite.parallel.slices import by_slice
from t5x_lite.perf.chips import GIB, chip_of
from t5x_lite.perf.collectives import Traffic, traffic
from t5x_lite.perf.flops import generate_flops, recompute_flops, train_flops
from t5x_lite.perf.hlo import parse
from t5x_lite.perf.memory import Lengths, activation_bytes, logit_bytes
from t5x_lite.perf.memory_traffic import hbm_bytes
from t5x_lite.perf.roofline import Roofline, roofline


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bytes:
    """The main uses of a chip's memory in bytes, computed from shapes; XLA's totals include everything else."""

    parameters: int  # in float32
    optimizer: int
    gradients: int  # of all parameters, in float32
    activations: int  # kept for the backward pass
    logits: int  # kept at once by the loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompileReport:
    """The report on a compiled program; fields that need the data of an unknown chip are None."""

    what: str  # train or generate
    topology: str | None  # None for the devices of this machine
    num_slices: int  # TPU slices or GPU hosts
    num_chips: int  # in total
    mesh: dict[str, int]  # the size of each axis
    model: str  # preset
    num_parameters: int
    batch_size: int  # sequences over all chips
    remat: str | tuple[str, ...]
    attention: str  # fused or reference
    trace_seconds: float  # including lowering
    compile_seconds: float
    peak_gib: float  # per chip
    argument_gib: float  # the state and the batch
    temporary_gib: float  # all temporary buffers, which are not all live at the peak
    hbm_gib: float | None  # memory per chip
    fits: bool | None  # whether the peak fits
    model_flops: int  # over all chips, computed from shapes, without recomputation
    recompute_flops: int  # over all chips
    hbm_bytes: int  # moved to and from a chip's memory
    collectives: list[Traffic]  # per chip, by kind and network
    memory: Bytes
    checkpoint_gib: float  # over all chips
    roofline: Roofline | None


def make_report(cfg: RunConfig, compiled: Compiled, *, what: str, topology: str | None) -> CompileReport:
    """Returns the report on a compiled program."""
    mesh, model, shapes = compiled.program.mesh, _with_choice(compiled), compiled.program.shapes
    slices = slice_numbers(mesh, cfg.mesh.slices)
    # The trip count of the decoding loop depends on the data; the worst case is the full length.
    num_tokens = stack_lengths(compiled.features)[1] if what == "generate" else 1
    module = parse(compiled.executable.as_text(), default_trip_count=num_tokens)
    collectives, moved_bytes = traffic(module, slices), hbm_bytes(module)
    saved = shapes.model, shapes.opt_state
    analysis = compiled.executable.memory_analysis()
    chip = chip_of(mesh.devices.flat[0].device_kind)
    flops, recomputed = _flops(compiled, model, what, cfg.train.batch_size)
    per_chip = {"model_flops": flops / mesh.size, "recompute_flops": recomputed / mesh.size, "hbm_bytes": moved_bytes}
    return CompileReport(
        what=what,
        topology=topology,
        num_slices=len(set(slices)),
        num_chips=mesh.size,
        mesh=dict(mesh.shape),
        model=cfg.model.preset,
        num_parameters=sum(leaf.size for leaf in jax.tree.leaves(shapes.model)),
        batch_size=cfg.train.batch_size,
        remat=model.remat,
        attention=model.attention,
        trace_seconds=compiled.trace_seconds,
        compile_seconds=compiled.compile_seconds,
        peak_gib=analysis.peak_memory_in_bytes / GIB,
        argument_gib=analysis.argument_size_in_bytes / GIB,
        temporary_gib=analysis.temp_size_in_bytes / GIB,
        hbm_gib=None if chip is None else chip.hbm_bytes / GIB,
        fits=None if chip is None else analysis.peak_memory_in_bytes <= chip.hbm_bytes,
        model_flops=flops,
        recompute_flops=recomputed,
        hbm_bytes=moved_bytes,
        collectives=collectives,
        memory=_memory(compiled, model, what, cfg.train),
        checkpoint_gib=sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(saved)) / GIB,
        roofline=None if chip is None else roofline(chip, **per_chip, traffic=collectives),
    )


def slice_numbers(mesh: Mesh, num_slices: int | None) -> list[int]:
    """Returns the slice number of each device, in the order of the mesh."""
    devices = list(mesh.devices.flat)
    number = {device: index for index, part in enumerate(by_slice(devices, num_slices)) for device in part}
    return [number[device] for device in devices]


def _flops(compiled: Compiled, model: ModelConfig, what: str, batch_size: int) -> tuple[int, int]:
    """Returns the FLOPs of the model and of recomputation, per batch."""
    architecture = compiled.program.architecture
    inputs, targets = stack_lengths(compiled.features)
    if what == "generate":
        return batch_size * generate_flops(model, inputs, targets), 0
    with jax.set_mesh(compiled.program.mesh):
        recomputed = recompute_flops(model, inputs, targets, architecture)
    return batch_size * train_flops(model, inputs, targets, architecture), batch_size * recomputed


def _with_choice(compiled: Compiled) -> ModelConfig:
    """Returns the model's config with `attention` as the program has it for its longest sequences."""
    model, longest = compiled.program.model, max(stack_lengths(compiled.features))
    with jax.set_mesh(compiled.program.mesh):
        return dataclasses.replace(model, attention="fused" if is_fused(model, longest, longest) else "reference")


def _memory(compiled: Compiled, model: ModelConfig, what: str, train: TrainConfig) -> Bytes:
    mesh, shapes = compiled.program.mesh, compiled.program.shapes
    rows = train.batch_size // train.num_microbatches // (mesh.shape["data"] * mesh.shape["fsdp"])
    lengths = Lengths(rows, *stack_lengths(compiled.features))
    parameters = chip_bytes(shapes.model)
    if what == "generate":  # one position of logits per sequence, and no backward pass
        logits = rows * model.vocab_size // mesh.shape["tensor"] * 4
        return Bytes(parameters=parameters, optimizer=0, gradients=0, activations=0, logits=logits)
    return Bytes(
        parameters=parameters,
        optimizer=chip_bytes(shapes.opt_state),
        gradients=parameters,
        activations=activation_bytes(model, lengths, mesh.shape),
        logits=logit_bytes(model, lengths, mesh.shape),
    )


def chip_bytes(shapes: Any) -> int:
    """Returns the bytes per chip of a tree of shapes with shardings."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes)
    )


def describe(report: CompileReport) -> str:
    """Formats a report as text."""
    mesh = " x ".join(f"{axis} {size}" for axis, size in report.mesh.items() if size > 1) or "one device"
    unit = "step" if report.what == "train" else "batch"
    topology = report.topology or "this machine's devices"
    fits = "fits" if report.fits else "DOES NOT FIT"
    slices = f", {report.num_slices} slices" if report.num_slices > 1 else ""
    remat = report.remat if isinstance(report.remat, str) else ", ".join(report.remat)
    fit = "" if report.hbm_gib is None else f", which {fits} its {report.hbm_gib:.2f} GiB"
    memory = "   ".join(f"{value / GIB:.3f} GiB {name}" for name, value in dataclasses.asdict(report.memory).items())
    collectives = [
        f"  {row.kind:<20} {row.network:<4} {row.count:>7,} times  {row.bytes_sent / GIB:10.3f} GiB"
        for row in report.collectives
    ]
    lines = [
        f"{report.what} {report.model} ({report.num_parameters / 1e6:,.1f}M parameters), batch {report.batch_size}, "
        f"remat {remat}, attention {report.attention}, on {report.num_chips} chips ({topology}{slices}; {mesh})",
        f"compiled in {report.compile_seconds:.1f} s, after {report.trace_seconds:.1f} s of tracing",
        "",
        f"peak memory per chip: {report.peak_gib:.3f} GiB{fit}",
        f"  XLA         {report.argument_gib:8.3f} GiB arguments   {report.temporary_gib:8.3f} GiB temporaries; "
        "the peak is what is live at once, so less than their sum",
        f"  shapes      {memory}",
        "",
        f"FLOPs per {unit}: {report.model_flops:.4g} model, {report.recompute_flops:.4g} recomputation",
        f"sent by each chip per {unit}, by collective:",
        *(collectives or ["  nothing"]),
        "",
    ]
    return "\n".join([*lines, *_describe_roofline(report.roofline, unit)])


def _describe_roofline(bounds: Roofline | None, unit: str) -> list[str]:
    if bounds is None:
        return ["no roofline: the speed of this device is unknown"]
    parts = ("compute", "hbm", "ici", "dcn")
    seconds = "   ".join(f"{part} {getattr(bounds, f'{part}_seconds'):.4f} s" for part in parts)
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in bounds.inputs.items() if isinstance(value, float))
    return [
        f"roofline: {seconds}",
        f"  per {unit} {bounds.fastest_seconds:.4f} s if all of these overlap (bound by {bounds.bound}, MFU at most "
        f"{bounds.mfu_bound:.1%}), {bounds.slowest_seconds:.4f} s if none do",
        f"  {bounds.inputs['chip']}: {numbers}",
        f"  source: {bounds.inputs['source']}",
    ]
