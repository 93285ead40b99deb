# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite compile`: compiles a run for machines that are not at hand; says what it needs and how fast it can be."""

import dataclasses
import json
import pathlib
import sys
from typing import Any

import jax

from t5x_lite.commands.compile.compiling import Compiled, compile_ahead
from t5x_lite.commands.compile.report import CompileReport, described, report
from t5x_lite.commands.compile.topology import topology_devices
from t5x_lite.config import CompileConfig, RunConfig
from t5x_lite.files.atomic_write import write_atomically
from t5x_lite.training.init import resolve_run

HLO_FILE, PROGRAM_FILE, REPORT_FILE = "program.hlo.txt", "program.bin", "report.json"


def run(cfg: RunConfig, options: CompileConfig, *, as_json: bool = False) -> CompileReport:
    """Compiles, and prints what came of it.

    Args:
      cfg: the run; neither its text nor its devices need be here.
      options: what to compile, for which machines.
      as_json: whether to print one JSON object, the fields of `CompileReport`.

    Raises:
      ValueError: if the config is wrong, or the program does not fit.
      OSError: if `options.output` cannot be written.
    """
    devices = None
    if options.topology is not None:
        devices = topology_devices(options.topology, options.slices)
        # GPUs that are not there do not say which host they are in.
        cfg = dataclasses.replace(cfg, mesh=dataclasses.replace(cfg.mesh, slices=options.slices))
    cfg, weights = resolve_run(cfg)
    compiled = compile_ahead(cfg, options.what, None if weights is None else weights.config, devices)
    found = report(cfg, compiled, what=options.what, topology=options.topology)
    shown = json.dumps(dataclasses.asdict(found), indent=2)
    print(shown if as_json else described(found))
    if options.output is not None:
        _write(pathlib.Path(options.output), compiled, shown)
    return found


def _write(directory: pathlib.Path, compiled: Compiled, shown: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(directory / HLO_FILE, compiled.executable.as_text())
    write_atomically(directory / REPORT_FILE, shown + "\n")
    written = [HLO_FILE, REPORT_FILE]
    if content := _serialized(compiled.executable):
        write_atomically(directory / PROGRAM_FILE, content)
        written.append(PROGRAM_FILE)
    print(f"{directory} holds {', '.join(written)}", file=sys.stderr)


def _serialized(executable: Any) -> bytes | None:
    """The program for `jax.experimental.serialize_executable`, None where the backend cannot write it."""
    from jax.experimental import serialize_executable

    try:
        content, _, _ = serialize_executable.serialize(executable)
    except (ValueError, NotImplementedError, jax.errors.JaxRuntimeError) as error:
        print(f"{PROGRAM_FILE} is left out: {error}", file=sys.stderr)
        return None
    return content
