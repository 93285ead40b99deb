# SPDX-License-Identifier: Apache-2.0
"""What a compiled program needs and how fast it can be at best: in numbers, and in a text for people."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from t5x_lite.commands.compile.compiling import Compiled
from t5x_lite.config import ModelConfig, RunConfig
from t5x_lite.data.shapes import stack_lengths
from t5x_lite.parallel.mesh import by_slice
from t5x_lite.perf.chips import GIB, Chip, chip_of
from t5x_lite.perf.collectives import Traffic, traffic
from t5x_lite.perf.flops import generate_flops, recompute_flops, train_flops
from t5x_lite.perf.hlo import parse
from t5x_lite.perf.memory import Lengths, activation_bytes, logit_bytes
from t5x_lite.perf.memory_traffic import hbm_bytes
from t5x_lite.perf.roofline import Roofline, roofline


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bytes:
    """Where the bytes of a chip go, from shapes; XLA's own numbers, beside them, have all else that it holds too.

    Args:
      parameters: float32.
      optimizer: its state.
      gradients: float32, of all parameters.
      activations: kept for the backward pass.
      logits: that the loss holds at once.
    """

    parameters: int
    optimizer: int
    gradients: int
    activations: int
    logits: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompileReport:
    """A compiled program in numbers.

    Args:
      what: train or generate.
      topology: it is compiled for; null for the devices of this machine.
      num_slices: of it.
      num_chips: in all.
      mesh: how they are arranged.
      model: preset.
      num_parameters: of the model.
      batch_size: sequences over all chips.
      remat: what the backward pass recomputes.
      trace_seconds: from Python to XLA's input.
      compile_seconds: of XLA.
      peak_gib: most that a chip holds at once.
      argument_gib: of that, what is there all the time: the state and the batch.
      temporary_gib: of that, what the program makes for itself, as XLA sums it up.
      hbm_gib: of the chip; null where it is not known.
      fits: whether the peak does.
      model_flops: of all chips, from shapes, without recomputation.
      recompute_flops: of all chips, beside them.
      hbm_bytes: that a chip moves to and from its memory.
      collectives: what a chip sends, by kind and network.
      memory: where the bytes go, from shapes.
      checkpoint_gib: of parameters and the optimizer's state, of all chips.
      roofline: bounds; null where the chip is not known.
    """

    what: str
    topology: str | None
    num_slices: int
    num_chips: int
    mesh: dict[str, int]
    model: str
    num_parameters: int
    batch_size: int
    remat: str | tuple[str, ...]
    trace_seconds: float
    compile_seconds: float
    peak_gib: float
    argument_gib: float
    temporary_gib: float
    hbm_gib: float | None
    fits: bool | None
    model_flops: int
    recompute_flops: int
    hbm_bytes: int
    collectives: list[Traffic]
    memory: Bytes
    checkpoint_gib: float
    roofline: Roofline | None


def report(cfg: RunConfig, compiled: Compiled, *, what: str, topology: str | None) -> CompileReport:
    """Returns a compiled program in numbers.

    Args:
      cfg: the run it is of.
      compiled: the program.
      what: train or generate.
      topology: it is compiled for.
    """
    mesh, model = compiled.program.mesh, compiled.program.model
    slices = slice_numbers(mesh, cfg.mesh.slices)
    # Decoding ends when all sequences have; here none does before it is full.
    num_tokens = stack_lengths(compiled.features)[1] if what == "generate" else 1
    module = parse(compiled.executable.as_text(), default_trip_count=num_tokens)
    rows, moved = traffic(module, slices), hbm_bytes(module)
    analysis = compiled.executable.memory_analysis()
    chip = chip_of(mesh.devices.flat[0].device_kind)
    peak = analysis.peak_memory_in_bytes
    flops, again = _flops(cfg, compiled, what)
    return CompileReport(
        what=what,
        topology=topology,
        num_slices=len(set(slices)),
        num_chips=mesh.size,
        mesh=dict(mesh.shape),
        model=cfg.model.preset,
        num_parameters=sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(compiled.program.shapes.model)),
        batch_size=cfg.train.batch_size,
        remat=model.remat,
        trace_seconds=compiled.trace_seconds,
        compile_seconds=compiled.compile_seconds,
        peak_gib=peak / GIB,
        argument_gib=analysis.argument_size_in_bytes / GIB,
        temporary_gib=analysis.temp_size_in_bytes / GIB,
        hbm_gib=None if chip is None else chip.hbm_bytes / GIB,
        fits=None if chip is None else peak <= chip.hbm_bytes,
        model_flops=flops,
        recompute_flops=again,
        hbm_bytes=moved,
        collectives=rows,
        memory=_memory(cfg, compiled, what),
        checkpoint_gib=whole_bytes((compiled.program.shapes.model, compiled.program.shapes.opt_state)) / GIB,
        roofline=None if chip is None else _roofline(chip, (flops, again), moved, rows, mesh),
    )


def slice_numbers(mesh: Mesh, num_slices: int | None) -> list[int]:
    """Returns the number of the slice of each device, in the order of the mesh."""
    devices = list(mesh.devices.flat)
    number = {device: index for index, part in enumerate(by_slice(devices, num_slices)) for device in part}
    return [number[device] for device in devices]


def _flops(cfg: RunConfig, compiled: Compiled, what: str) -> tuple[int, int]:
    """(FLOPs of the model, of recomputation) of the whole batch."""
    model, architecture = compiled.program.model, compiled.program.architecture
    inputs, targets = stack_lengths(compiled.features)
    if what == "generate":
        return cfg.train.batch_size * generate_flops(model, inputs, targets), 0
    each = train_flops(model, inputs, targets, architecture), recompute_flops(model, inputs, targets, architecture)
    return cfg.train.batch_size * each[0], cfg.train.batch_size * each[1]


def _memory(cfg: RunConfig, compiled: Compiled, what: str) -> Bytes:
    shapes, mesh = compiled.program.shapes, compiled.program.mesh
    model: ModelConfig = compiled.program.model
    rows = cfg.train.batch_size // cfg.train.num_microbatches // (mesh.shape["data"] * mesh.shape["fsdp"])
    held = Lengths(rows, *stack_lengths(compiled.features))
    parameters = chip_bytes(shapes.model)
    if what == "generate":  # a row of logits a sequence; nothing is kept for a backward pass
        logits = held.sequences * model.vocab_size // mesh.shape["tensor"] * 4
        return Bytes(parameters=parameters, optimizer=0, gradients=0, activations=0, logits=logits)
    return Bytes(
        parameters=parameters,
        optimizer=chip_bytes(shapes.opt_state),
        gradients=parameters,
        activations=activation_bytes(model, held, mesh.shape),
        logits=logit_bytes(model, held, mesh.shape),
    )


def chip_bytes(shapes: Any) -> int:
    """Returns the bytes that one chip has of a tree of shapes with shardings."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes)
    )


def whole_bytes(shapes: Any) -> int:
    """Returns the bytes of a tree of shapes on all chips together, each part counted once."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


def _roofline(chip: Chip, flops: tuple[int, int], moved: int, rows: Sequence[Traffic], mesh: Mesh) -> Roofline:
    model, again = (number / mesh.size for number in flops)
    return roofline(chip, model_flops=model, recompute_flops=again, hbm_bytes=moved, traffic=rows)


def described(found: CompileReport) -> str:
    """Returns a report for people to read."""
    mesh = " x ".join(f"{axis} {size}" for axis, size in found.mesh.items() if size > 1) or "one device"
    unit = "step" if found.what == "train" else "batch"
    where = found.topology or "this machine's devices"
    slices = f", {found.num_slices} slices" if found.num_slices > 1 else ""
    remat = found.remat if isinstance(found.remat, str) else ", ".join(found.remat)
    lines = [
        f"{found.what} of {found.model} ({found.num_parameters / 1e6:,.1f}M parameters), batch {found.batch_size}, "
        f"remat {remat}, for {found.num_chips} chips ({where}{slices}; {mesh})",
        f"compiled in {found.compile_seconds:.1f} s, after {found.trace_seconds:.1f} s of tracing",
        "",
        _fit(found),
        f"  by XLA     {found.argument_gib:8.3f} GiB arguments   {found.temporary_gib:8.3f} GiB temporaries",
        "  by shapes  "
        + "   ".join(f"{value / GIB:.3f} GiB {name}" for name, value in dataclasses.asdict(found.memory).items()),
        "",
        f"FLOPs a {unit}: {found.model_flops:.4g} of the model, {found.recompute_flops:.4g} of recomputation",
        f"sent by each chip a {unit}, collectives of the compiled program:",
    ]
    lines += [
        f"  {row.kind:<20} {row.network:<4} {row.count:>7,} times  {row.bytes_sent / GIB:10.3f} GiB"
        for row in found.collectives
    ] or ["  nothing"]
    return "\n".join([*lines, "", *_bounds(found, unit)])


def _fit(found: CompileReport) -> str:
    if found.hbm_gib is None:
        return f"a chip holds {found.peak_gib:.3f} GiB at most"
    verdict = "fits" if found.fits else "DOES NOT FIT"
    return f"a chip holds {found.peak_gib:.3f} GiB at most, which {verdict} its {found.hbm_gib:.2f} GiB"


def _bounds(found: CompileReport, unit: str) -> list[str]:
    bounds = found.roofline
    if bounds is None:
        return ["no roofline: this device's speed is not known"]
    parts = ("compute", "hbm", "ici", "dcn")
    busy = "   ".join(f"{part} {getattr(bounds, f'{part}_seconds'):.4f} s" for part in parts)
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in bounds.inputs.items() if isinstance(value, float))
    return [
        f"roofline: {busy}",
        f"  a {unit} takes {bounds.fastest_seconds:.4f} s if all of that overlaps ({bounds.bound} rules, MFU at most "
        f"{bounds.mfu_bound:.1%}), {bounds.slowest_seconds:.4f} s if nothing does",
        f"  of {bounds.inputs['chip']}: {numbers}",
        f"  source: {bounds.inputs['source']}",
    ]
