"""Tests t5x_lite/commands/compile as a whole: for local devices, and with a TPU compiler where one is installed."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys

import pytest

from t5x_lite.commands import compile
from t5x_lite.config import MeshConfig
from t5x_lite.config.commands import CompileConfig
from tests import runs

HAS_LIBTPU = importlib.util.find_spec("libtpu") is not None
TINY = ["--model.emb_dim", "128", "--model.num_heads", "2", "--model.mlp_dim", "256", "--train.inputs_length", "64"]
TINY += ["--model.num_encoder_layers", "2", "--model.num_decoder_layers", "3", "--task.tokenizer.kind", "bytes"]


@pytest.mark.slow
def test_the_program_and_its_report_are_written(tmp_path, capsys):
    cfg = runs.config(tmp_path / "run", mesh=MeshConfig(data=8), num_steps=5)
    cfg = dataclasses.replace(cfg, model=dataclasses.replace(cfg.model, num_encoder_layers=1))
    found = compile.run(cfg, CompileConfig(output=str(tmp_path / "out")), as_json=True)
    printed = capsys.readouterr().out
    assert json.loads(printed)["num_parameters"] == found.num_parameters
    assert (tmp_path / "out" / "report.json").read_text() == printed
    assert "HloModule" in (tmp_path / "out" / "program.hlo.txt").read_text()[:100]
    assert not (tmp_path / "run").exists()


def test_a_pretrained_model_is_not_written_over(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("mine")
    cfg = runs.config(tmp_path / "run")
    cfg = dataclasses.replace(cfg, model=dataclasses.replace(cfg.model, pretrained=str(tmp_path / "model")))
    for name in ("report.json", "program.bin", "program.hlo.txt"):
        (tmp_path / name).symlink_to(tmp_path / "model" / "config.json")
        with pytest.raises(ValueError, match=rf"--output .*{name} is .*config.json, which is read: name another file"):
            compile.run(cfg, CompileConfig(output=str(tmp_path)))
        (tmp_path / name).unlink()
    # What an earlier command wrote beside the model may be replaced.
    (tmp_path / "model" / "report.json").touch()
    monkeypatch.setattr(compile, "resolve_run", lambda cfg: pytest.fail("refused"))
    with pytest.raises(pytest.fail.Exception):
        compile.run(cfg, CompileConfig(output=str(tmp_path / "model")))


def test_a_file_is_refused_as_the_directory_of_a_program_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(compile, "resolve_run", lambda cfg: pytest.fail("refused too late"))
    (tmp_path / "a").write_text("mine")
    with pytest.raises(ValueError, match=r"--output .*a is a file: name a directory"):
        compile.run(runs.config(tmp_path / "run"), CompileConfig(output=str(tmp_path / "a")))


def test_slices_without_a_topology_are_refused():
    with pytest.raises(ValueError, match="--slices is 2 but --topology is not given: add the topology of one slice"):
        CompileConfig(slices=2)


def compiled_for(topology, *arguments):
    """What the command prints for a TPU that is not there; in a process of its own, for it prepares libtpu."""
    start = "import sys; from t5x_lite.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", start, "compile", "--json", "--run_dir", "unused", *TINY]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TPU_", "XLA_"))}
    answer = subprocess.run(
        [*command, "--topology", topology, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    return answer.returncode, answer.stdout, answer.stderr


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax_plugins") is None, reason="the extra cuda12-local is not installed")
def test_hosts_of_gpus_are_compiled_for():
    arguments = ["--slices", "2", "--train.batch_size", "16", "--mesh.fsdp", "4", "--mesh.data", "2"]
    status, printed, errors = compiled_for("h100:4", *arguments)
    assert status == 0, errors
    found = json.loads(printed)
    assert (found["num_slices"], found["num_chips"], found["fits"]) == (2, 8, True)
    assert {row["network"] for row in found["collectives"]} == {"ici", "dcn"}
    gathered = [row for row in found["collectives"] if row["kind"] == "all-gather"]
    assert {row["network"] for row in gathered} == {"ici"}
    assert found["roofline"]["inputs"]["chip"] == "H100"
    assert found["attention"] == "fused"


@pytest.mark.slow
@pytest.mark.skipif(not HAS_LIBTPU, reason="the extra tpu is not installed")
class TestForTpus:
    def test_a_slice_fits(self):
        status, printed, errors = compiled_for("v5e:2x4", "--train.batch_size", "16", "--mesh.fsdp", "4")
        assert status == 0, errors
        found = json.loads(printed)
        assert found["num_chips"] == 8
        assert found["mesh"] == {"data": 2, "fsdp": 4, "context": 1, "tensor": 1}
        assert found["fits"]
        assert found["hbm_gib"] == 15.75
        assert found["roofline"]["bound"] in ("compute", "hbm", "ici")
        assert {row["network"] for row in found["collectives"]} == {"ici"}
        assert found["attention"] == "fused"

    def test_the_reference_moves_more_through_memory(self):
        long = ["--train.inputs_length", "1024", "--train.batch_size", "8"]
        found = [
            json.loads(compiled_for("v5e:2x2", *long, "--model.attention", attention)[1])
            for attention in ("auto", "reference")
        ]
        assert [report["attention"] for report in found] == ["fused", "reference"]
        assert 2 * found[0]["hbm_bytes"] < found[1]["hbm_bytes"]

    def test_two_slices_send_over_dcn(self):
        status, printed, errors = compiled_for(
            "v5e:2x2", "--slices", "2", "--train.batch_size", "16", "--mesh.fsdp", "4"
        )
        assert status == 0, errors
        found = json.loads(printed)
        assert (found["num_slices"], found["num_chips"]) == (2, 8)
        assert "dcn" in {row["network"] for row in found["collectives"]}

    def test_generation_is_compiled(self):
        status, printed, errors = compiled_for("v5e:2x2", "--what", "generate", "--train.batch_size", "8")
        assert status == 0, errors
        assert json.loads(printed)["recompute_flops"] == 0

    def test_a_mesh_may_split_an_axis_of_the_torus(self):
        mesh = ["--mesh.data", "2", "--mesh.fsdp", "32", "--train.batch_size", "64"]
        status, printed, errors = compiled_for("v5p:4x4x4", *mesh)
        assert status == 0, errors
        assert json.loads(printed)["mesh"] == {"data": 2, "fsdp": 32, "context": 1, "tensor": 1}

    def test_a_program_that_does_not_fit_is_reported_with_a_remedy(self):
        arguments = ["--train.batch_size", "65536", "--train.remat", "none", "--train.inputs_length", "512"]
        status, _, errors = compiled_for("v5e:2x2", *arguments)
        assert status == 2
        assert "does not fit the chip" in errors
        assert "Raise train.num_microbatches" in errors

    def test_an_unknown_topology_is_named(self):
        status, _, errors = compiled_for("v5e:3x5")
        assert status == 2
        assert "topology is v5e:3x5, which libtpu rejects" in errors
