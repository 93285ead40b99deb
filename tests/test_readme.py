"""Tests that what README.md shows of Flan-T5 runs, on a tiny model of that form, and that its tables are complete."""

import json
import pathlib
import re
import subprocess

import pytest

import t5x_lite
from t5x_lite.checkpoints.hf.config import read_json
from t5x_lite.commands.options.overview import COMMANDS
from t5x_lite.parallel.param_paths import named_leaves
from tests.docs.pages import make_command, make_flan
from tests.paths import ROOT

README = (ROOT / "README.md").read_text()


def section(title: str) -> str:
    return README.partition(f"## {title}\n")[2].partition("\n## ")[0]


def snippets(title: str) -> list[tuple[str, str]]:
    """The blocks of code of a section, with their languages."""
    return re.findall(r"```(\w+)\n(.*?)```", section(title), re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the snippets find the model and the questions that they name."""
    monkeypatch.chdir(tmp_path)
    make_flan("flan-t5-small")
    records = [{"question": f"what is {n} and {n}?", "answer": str(2 * n)} for n in range(60)]
    pathlib.Path("questions.jsonl").write_text("\n".join(map(json.dumps, records)))
    return tmp_path


@pytest.mark.slow
def test_a_flan_t5_is_loaded_asked_trained_on_and_exported(folder, capsys):
    ((language, ask),) = snippets("Load and prompt a model")
    assert language == "python"
    names: dict = {}
    exec(ask, names)
    answers, best, shape = capsys.readouterr().out.splitlines()
    assert type(names["flan"].model) is t5x_lite.T5
    (answer,) = t5x_lite.generate(names["flan"], ["Answer the question: what is the boiling point of water?"])
    assert (answers, best in ("yes", "no")) == (str([answer]), True)
    assert shape == str((1, names["flan"].config.emb_dim))
    ((language, fine_tune),) = snippets("Fine-tune it")
    assert language == "bash"
    subprocess.run(["bash", "-eu"], input=fine_tune, text=True, env=make_command(folder), check=True)
    exported = t5x_lite.load("flan-t5-small-mine")
    assert exported.tokenizer.vocab_size == names["flan"].tokenizer.vocab_size
    before, after = (named_leaves(loaded.model) for loaded in (names["flan"], exported))
    assert before.keys() == after.keys()
    assert all((before[name] != after[name]).any() for name in ("embedding", "logits_kernel"))
    assert read_json(folder / "flan-t5-small-mine" / "config.json")["model_type"] == "t5"


def test_it_is_short_and_what_it_links_to_exists():
    assert README.count("\n") <= 150
    for link in re.findall(r"\]\(([^)#\s]+)\)", README):
        assert (ROOT / link).exists(), link


def test_its_table_lists_the_commands():
    commands = re.findall(r"^\| `t5x-lite (\w+)` \|", section("Commands"), re.MULTILINE)
    assert sorted(commands) == sorted(COMMANDS)
