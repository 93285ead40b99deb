"""Tests that the reference pages, which are made from the code, leave nothing out."""

import dataclasses
import importlib.util

import pytest

import t5x_lite
from t5x_lite import config
from t5x_lite.commands.options.overview import COMMANDS
from t5x_lite.config import commands, generation
from tests.paths import ROOT

pytest.importorskip("sphinx", reason="needs the extra docs")
SPEC = importlib.util.spec_from_file_location("reference_directives", ROOT / "docs" / "reference_directives.py")
directives = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(directives)


def config_sections() -> dict[str, str]:
    return dict(directives.ConfigReference.sections(None))


def test_every_field_of_every_config_has_a_text():
    pages = "\n".join(config_sections().values())
    for module in (config, commands, generation):
        for cls in vars(module).values():
            if dataclasses.is_dataclass(cls):
                assert f"`{cls.__module__}.{cls.__name__}`" in pages
    for line, text in zip(pages.splitlines(), pages.splitlines()[1:], strict=False):
        if line.startswith("`"):
            assert len(text) > len(": a text."), f"{line} is not described"


def test_a_field_has_its_dotted_name_type_and_default():
    assert "`train.inputs_length`\n: " in config_sections()["train"]
    assert "*int, default `512`*" in config_sections()["train"]
    assert "float32 | bfloat16, default `float32`" in config_sections()["optimizer"]


def test_every_command_has_a_section():
    names = {name.split()[1] for name, _ in directives.CommandReference.sections(None)}
    assert names == set(COMMANDS)


def test_run_fields_are_not_repeated_for_each_command():
    sections = dict(directives.CommandReference.sections(None))
    assert "`--profile`" in sections["t5x-lite train"]
    assert "`--train.num_steps`" not in sections["t5x-lite train"]
    assert "`--checkpoint`" in sections["t5x-lite eval"]


def test_every_folder_of_the_package_is_listed():
    folders = {name for name, _ in directives.ModuleReference.sections(None)}
    assert {"config/", "model/", "training/"} <= folders
    assert len(folders) == 14


def test_every_public_name_can_be_documented():
    assert all(getattr(t5x_lite, name).__doc__ for name in t5x_lite.__all__ if name != "presets")
    assert directives.signature(t5x_lite.T5) == "(cfg, *, rngs)"


def test_markup_is_escaped_outside_of_code():
    assert directives.escape("a_b `c_d` <e>") == "a\\_b `c_d` \\<e\\>"
    assert directives.sentence("steps of a run") == "Steps of a run."
    assert directives.sentence("package.module:NAME of a task.") == "package.module:NAME of a task."
