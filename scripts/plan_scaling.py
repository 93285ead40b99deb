# SPDX-License-Identifier: Apache-2.0
"""Writes the tables of docs/scaling.md from ahead-of-time compilations for pods.

    python scripts/plan_scaling.py                 compile the missing rows, then write the tables
    python scripts/plan_scaling.py --again NAME    compile a row again (or: all)
    python scripts/plan_scaling.py --kept          compile nothing and leave out the missing rows

Each row is one `t5x-lite compile --json`, stored as docs/scaling/NAME.json. Needs the extra `tpu`.
"""

import argparse
import json
import pathlib
import subprocess
import sys
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[1]
ANSWERS, PAGE = ROOT / "docs" / "scaling", ROOT / "docs" / "scaling.md"
START = "import sys; from t5x_lite.cli import main; sys.exit(main(sys.argv[1:]))"
# Assumed, not measured: bytes/s that a host writes to an object store, and chips per host.
WRITE_BYTES_PER_SECOND, CHIPS_PER_HOST = 1e9, 4
GIB = 2**30


class Row(NamedTuple):
    """One compilation: a shipped config, a topology, and overrides of the config."""

    config: str
    topology: str
    slices: int = 1
    changes: tuple[str, ...] = ()


def _weak(chips: int) -> tuple[str, ...]:
    return ("--mesh.data", "-1", "--mesh.fsdp", "16", "--train.remat", "full", "--train.batch_size", str(16 * chips))


PLANS = {
    "base_v5e_16": Row("t5_1_1_base_v5e_16", "v5e:4x4"),
    "large_v5e_32": Row("t5_1_1_large_v5e_32", "v5e:4x8"),
    "xl_v5e_64": Row("t5_1_1_xl_v5e_64", "v5e:8x8"),
    "xxl_v5e_256": Row("t5_1_1_xxl_v5e_256", "v5e:16x16"),
    "xxl_v5p_64": Row("t5_1_1_xxl_v5p_64", "v5p:4x4x4"),
    "ul2_v5p_128": Row("ul2_20b_v5p_128", "v5p:4x4x8"),
    "xxl_v5p_512": Row("t5_1_1_xxl_v5p_512", "v5p:8x8x8"),
    "xxl_v5p_2x512": Row("t5_1_1_xxl_v5p_512", "v5p:8x8x8", 2, ("--mesh.data", "2", "--train.batch_size", "8192")),
    "xxl_v5p_4096": Row("t5_1_1_xxl_v5p_512", "v5p:16x16x16", 1, ("--mesh.data", "8", "--train.batch_size", "32768")),
}
FULL = {
    "base_v5e_16_full": Row("t5_1_1_base_v5e_16", "v5e:4x4", 1, ("--train.remat", "full")),
    "xl_v5e_64_full": Row("t5_1_1_xl_v5e_64", "v5e:8x8", 1, ("--train.remat", "full")),
    "xxl_v5p_64_full": Row("t5_1_1_xxl_v5p_64", "v5p:4x4x4", 1, ("--train.remat", "full")),
}
WEAK = {
    "weak_v5p_16": Row("t5_1_1_base_v5e_16", "v5p:2x2x4", 1, _weak(16)),
    "weak_v5p_64": Row("t5_1_1_base_v5e_16", "v5p:4x4x4", 1, _weak(64)),
    "weak_v5p_256": Row("t5_1_1_base_v5e_16", "v5p:4x8x8", 1, _weak(256)),
    "weak_v5p_512": Row("t5_1_1_base_v5e_16", "v5p:8x8x8", 1, _weak(512)),
}
WEAK_V5E = {
    "weak_v5e_16": Row("t5_1_1_base_v5e_16", "v5e:4x4", 1, _weak(16)),
    "weak_v5e_64": Row("t5_1_1_base_v5e_16", "v5e:8x8", 1, _weak(64)),
    "weak_v5e_256": Row("t5_1_1_base_v5e_16", "v5e:16x16", 1, _weak(256)),
    "weak_v5e_2x256": Row("t5_1_1_base_v5e_16", "v5e:16x16", 2, _weak(512)),
}
TABLES = {"plans": PLANS, "full": FULL, "weak": WEAK, "weak over slices": WEAK_V5E}


def main() -> None:
    """Compiles missing rows and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", nargs="*", default=[], metavar="NAME", help="rows to compile again, or all")
    parser.add_argument("--kept", action="store_true", help="compile nothing")
    options = parser.parse_args()
    page = PAGE.read_text()
    for table, rows in TABLES.items():
        if options.kept:
            rows = {name: row for name, row in rows.items() if path_of(name).is_file()}
        again = {name for name in rows if name in options.again or "all" in options.again}
        answers = {name: answer(name, row, again=name in again) for name, row in rows.items()}
        weak = table.startswith("weak")
        page = replaced(page, table, tabulated(answers, weak=weak) if answers else "Not compiled yet.")
    PAGE.write_text(page)


def path_of(name: str) -> pathlib.Path:
    """Returns the file that stores a row's result."""
    return ANSWERS / f"{name}.json"


def answer(name: str, row: Row, *, again: bool) -> dict[str, Any]:
    """Returns the output of `t5x-lite compile --json` for a row, compiling it if it is missing."""
    path = path_of(name)
    if again or not path.is_file():
        print(f"compiling {name}", file=sys.stderr)
        config = str(ROOT / "configs" / "pretrain" / f"{row.config}.yaml")
        command = [sys.executable, "-c", START, "compile", "--json", "--config", config, *row.changes]
        command += ["--topology", row.topology, "--slices", str(row.slices)]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if result.returncode:
            sys.exit(f"{name}: {result.stderr.strip()}")
        ANSWERS.mkdir(parents=True, exist_ok=True)
        path.write_text(result.stdout)
    return json.loads(path.read_text())


def tabulated(answers: dict[str, dict[str, Any]], *, weak: bool) -> str:
    """Returns a Markdown table; a weak-scaling series gives efficiency relative to its first row."""
    columns = ["row", "model", "chips", "mesh", "batch", "remat", "recomputed", "GiB per chip", "step, s", "bound by"]
    columns += ["MFU at most", "sent GiB, ICI / DCN", "compile, s"]
    columns += ["efficiency"] if weak else ["checkpoint, GiB", "saved in, s"]
    first = next(iter(answers.values()))["roofline"]["fastest_seconds"]
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for name, row in answers.items():
        cells = [name, row["model"], _chips(row), _mesh(row), f"{row['batch_size']:,}", str(row["remat"])]
        bounds = row["roofline"]
        cells.append(f"{row['recompute_flops'] / row['model_flops']:.0%}")
        cells += [f"{row['peak_gib']:.2f} of {row['hbm_gib']:.2f}"]
        cells += [f"{bounds['fastest_seconds']:.3f} to {bounds['slowest_seconds']:.3f}", bounds["bound"]]
        cells += [f"{bounds['mfu_bound']:.0%}", f"{_sent(row, 'ici'):.2f} / {_sent(row, 'dcn'):.3f}"]
        cells += [f"{row['trace_seconds'] + row['compile_seconds']:.0f}"]
        if weak:
            cells.append(f"{first / bounds['fastest_seconds']:.0%}")
        else:
            seconds = row["checkpoint_gib"] * GIB / WRITE_BYTES_PER_SECOND / (row["num_chips"] / CHIPS_PER_HOST)
            cells += [f"{row['checkpoint_gib']:.1f}", f"{seconds:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def replaced(page: str, table: str, content: str) -> str:
    """Returns the page with the content between a table's markers replaced."""
    begin, end = (f"<!-- {mark} of {table} -->" for mark in ("begin", "end"))
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        sys.exit(f"{PAGE} has no {begin} with its {end}")
    return f"{before}{begin}\n{content}\n{end}{after}"


def _chips(row: dict[str, Any]) -> str:
    slices = f"{row['num_slices']} x " if row["num_slices"] > 1 else ""
    return f"{row['num_chips']:,} ({slices}{row['topology']})"


def _mesh(row: dict[str, Any]) -> str:
    return ", ".join(f"{axis} {size}" for axis, size in row["mesh"].items() if size > 1)


def _sent(row: dict[str, Any], network: str) -> float:
    return sum(item["bytes_sent"] for item in row["collectives"] if item["network"] == network) / GIB


if __name__ == "__main__":
    main()
