"""Tests t5x_lite/commands/dispatch.py; tests/test_cli.py has what each command is called with"""

from t5x_lite import cli
from t5x_lite.commands import convert, data_stats, embed
from t5x_lite.commands import eval as eval_command


def test_paths_outside_the_configs_may_begin_with_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    calls = []
    monkeypatch.setattr(convert, "run", lambda *paths, **how: calls.append((*paths, how["tokenizer"])))
    monkeypatch.setattr(data_stats, "run", lambda cfg, **options: calls.append((cfg.run_dir, options["output"])))
    monkeypatch.setattr(
        eval_command, "run", lambda cfg, run, **options: calls.append((cfg.run_dir, run, options["output"]))
    )
    (tmp_path / "c.yaml").write_text("run_dir: ~/run\nseed: 7\ntask: {packages: [optax]}\n")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("run_dir: ~/run\ntask: {packages: [optax]}\n")
    for command in (
        ["convert", "~/a", "~/b", "--tokenizer", "~/my.model"],
        ["data", "stats", "--config", "~/c.yaml", "--output", "~/x.svg"],
        ["eval", "--checkpoint", "~/run", "--output=~/x.jsonl"],
    ):
        assert cli.main(command) == 0
    names = [["a", "b", "my.model"], ["run", "x.svg"], ["run", "run", "x.jsonl"]]
    assert calls == [tuple(str(tmp_path / name) for name in paths) for paths in names]


def test_a_checkpoint_may_be_named_by_its_path_or_its_step(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(convert, "run", lambda source, _, **how: calls.append((source, how["step"])))
    monkeypatch.setattr(embed, "run", lambda options: calls.append((options.checkpoint, options.step)))
    monkeypatch.setattr(
        eval_command, "run", lambda cfg, checkpoint, **options: calls.append((checkpoint, options["step"]))
    )
    run, checkpoint = str(tmp_path), str(tmp_path / "checkpoints" / "20")
    (tmp_path / "config.yaml").write_text("run_dir: x\ntask: {packages: [optax]}\n")
    for command in (["convert"], ["embed", "--checkpoint"], ["eval", "--checkpoint"]):
        others = ["out"] if command == ["convert"] else []
        assert cli.main([*command, checkpoint, *others]) == 0
        assert cli.main([*command, run, *others, "--step", "20"]) == 0
    assert calls == 6 * [(run, 20)]


def test_an_unknown_home_directory_is_one_message(capsys):
    assert cli.main(["convert", "~no_such_user/a", "b"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("t5x-lite convert: SOURCE '~no_such_user/a' begins with an unknown user")
    assert error.count("\n") == 1


def test_a_config_is_not_overwritten_by_the_output(tmp_path, capsys):
    (tmp_path / "lengths.svg").write_text("seed: 7\n")
    (tmp_path / "link.svg").symlink_to("lengths.svg")
    asked = ["--config", str(tmp_path / "lengths.svg"), "--output", str(tmp_path / "link.svg")]
    for command in (
        ["data", "stats", *asked, "--run_dir", "x"],
        ["eval", *asked, "--checkpoint", "x"],
    ):
        assert cli.main(command) == 2
        error = capsys.readouterr().err
        assert f"--output {tmp_path}/link.svg is {tmp_path}/lengths.svg, which is read" in error
        assert error.count("\n") == 1
    assert (tmp_path / "lengths.svg").read_text() == "seed: 7\n"
