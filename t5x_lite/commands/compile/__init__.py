# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite compile`: compiles a run ahead of time for any hardware, and reports its memory and speed."""

import dataclasses
import json
import pathlib
import sys

import jax

from t5x_lite.checkpoints.model_files import model_files
from t5x_lite.commands.compile.compiling import Compiled, compile_ahead
from t5x_lite.commands.compile.report import CompileReport, describe, make_report
from t5x_lite.commands.compile.topology import topology_devices
from t5x_lite.config import RunConfig
from t5x_lite.config.commands import CompileConfig
from t5x_lite.files.atomic_write import write_atomically
from t5x_lite.files.one_writer import one_filler
from t5x_lite.files.same_file import refuse_overwriting
from t5x_lite.training.resolve import resolve_run

HLO_FILE, PROGRAM_FILE, REPORT_FILE = "program.hlo.txt", "program.bin", "report.json"


def run(cfg: RunConfig, options: CompileConfig, *, as_json: bool = False) -> CompileReport:
    """Compiles a run's program and prints a report, with `as_json` as one JSON object of `CompileReport`'s fields.

    The run's text and devices need not exist.
    """
    if options.output is not None and pathlib.Path(options.output).is_file():
        raise ValueError(f"--output {options.output} is a file: name a directory")
    with one_filler(options.output, "--output"):
        return _compile(cfg, options, as_json=as_json)


def _compile(cfg: RunConfig, options: CompileConfig, *, as_json: bool) -> CompileReport:
    if options.output is not None and cfg.model.pretrained is not None:
        names = (HLO_FILE, PROGRAM_FILE, REPORT_FILE)  # which no model has, but an earlier program beside it may
        read = (file for file in model_files(cfg.model.pretrained) if file.name not in names)
        refuse_overwriting((pathlib.Path(options.output) / name for name in names), read, "--output")
    devices = None
    if options.topology is not None:
        devices = topology_devices(options.topology, options.slices)
        # Devices of GPU topologies do not record their host.
        cfg = dataclasses.replace(cfg, mesh=dataclasses.replace(cfg.mesh, slices=options.slices))
    run = resolve_run(cfg)
    compiled = compile_ahead(run, options.what, devices)
    report = make_report(run.config, compiled, what=options.what, topology=options.topology)
    text = json.dumps(dataclasses.asdict(report), indent=2)
    print(text if as_json else describe(report))
    if options.output is not None:
        _write(pathlib.Path(options.output), compiled, text)
    return report


def _write(directory: pathlib.Path, compiled: Compiled, report: str) -> None:
    from jax.experimental import serialize_executable

    write_atomically(directory / HLO_FILE, compiled.executable.as_text())
    write_atomically(directory / REPORT_FILE, report + "\n")
    written = [HLO_FILE, REPORT_FILE]
    try:
        content, _, _ = serialize_executable.serialize(compiled.executable)
    except (ValueError, NotImplementedError, jax.errors.JaxRuntimeError) as error:  # not every backend can
        print(f"Not writing {PROGRAM_FILE}: {error}", file=sys.stderr)
    else:
        write_atomically(directory / PROGRAM_FILE, content)
        written.append(PROGRAM_FILE)
    print(f"Wrote {', '.join(written)} to {directory}", file=sys.stderr)
