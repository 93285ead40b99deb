"""Tests t5x_lite/commands/options/eval.py; tests/test_cli.py has what `eval` is called with"""

import pytest

from t5x_lite.commands.options import make_parser
from t5x_lite.commands.options.errors import explain
from t5x_lite.commands.options.eval import check_code, with_own_config
from t5x_lite.config import TaskConfig


@pytest.mark.parametrize("given", [[], ["--config", "other.yaml"], ["--config=other.yaml"]])
def test_the_config_of_the_run_is_read_unless_another_is_given(given, tmp_path):
    (tmp_path / "config.yaml").touch()
    arguments = with_own_config(["eval", *given, "--checkpoint", str(tmp_path)])
    own = [] if given else ["--config", str(tmp_path / "config.yaml")]
    assert arguments == ["eval", "--run_dir", str(tmp_path), *own, *given, "--checkpoint", str(tmp_path)]


def test_the_config_of_the_run_is_read_for_one_of_its_checkpoints(tmp_path):
    (tmp_path / "config.yaml").touch()
    checkpoint = str(tmp_path / "checkpoints" / "20")
    own = ["--run_dir", str(tmp_path), "--config", str(tmp_path / "config.yaml")]
    assert with_own_config(["eval", "--checkpoint", checkpoint]) == ["eval", *own, "--checkpoint", checkpoint]


@pytest.mark.parametrize(
    ("section", "message"),
    [("{keep: 9}", None), ("{keep: many}", "keep is 'many'"), ("{kept: 9}", "checkpoint.kept is not a field")],
)
def test_a_config_may_have_the_section_on_saving_checkpoints(section, message, tmp_path):
    (tmp_path / "c.yaml").write_text(f"checkpoint: {section}")
    arguments = ["eval", "--config", str(tmp_path / "c.yaml"), "--run_dir", "x", "--checkpoint", "y"]
    if message is None:
        assert make_parser("eval").parse_args(arguments).eval.checkpoint == "y"
        return
    parser = make_parser("eval")
    with pytest.raises(Exception, match="checkpoint") as failed:
        parser.parse_args(arguments)
    assert message in explain(str(failed.value), parser, arguments)


NAMED = TaskConfig(source="json:loads")


@pytest.mark.parametrize(
    ("trust", "arguments"),
    [
        ("{run}", []),
        (None, ["--config", "mine.yaml"]),
        (None, ["--config=mine.yaml"]),
        (None, ["--task.source", "json:loads"]),
    ],
)
def test_code_of_a_task_is_the_users_own_or_trusted(trust, arguments, tmp_path):
    trust = trust and trust.format(run=tmp_path)
    check_code(NAMED, str(tmp_path), trust, arguments)
    with pytest.raises(ValueError, match=r"has task.source json:loads, which would import the module json"):
        check_code(NAMED, str(tmp_path), None, ["--checkpoint", str(tmp_path)])
