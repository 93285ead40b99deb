"""Tests t5x_lite/cli.py"""

import dataclasses
import json
import subprocess
import sys

import pytest

from t5x_lite import cli
from t5x_lite.checkpoints.load import save_hf
from t5x_lite.commands import attention, data_stats, infer, models, serve, tokenizer_train, train
from t5x_lite.commands import eval as eval_command
from t5x_lite.commands.chat import session
from t5x_lite.config import RunConfig
from t5x_lite.config.commands import AttentionConfig, InferConfig, ServeConfig, TokenizerTrainConfig
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.files.pictures import can_draw
from tests import tiny
from tests.paths import ROOT

SMOKE = ROOT / "configs" / "smoke" / "cpu.yaml"


@pytest.fixture
def train_calls(monkeypatch):
    calls = []
    monkeypatch.setattr(train, "run", lambda cfg, **options: calls.append((cfg, options)) or 75)
    return calls


def test_a_config_file_and_dotted_overrides_make_a_run(train_calls, tmp_path):
    arguments = ["--config", str(SMOKE), "--run_dir", str(tmp_path), "--train.num_steps", "3", "--profile"]
    assert cli.main(["train", *arguments]) == 75  # the status of the command
    ((cfg, options),) = train_calls
    assert isinstance(cfg, RunConfig)
    assert (cfg.run_dir, cfg.train.num_steps) == (str(tmp_path), 3)
    assert options == {"profile": True, "allow_changes": False, "from_step": None, "check": False}


def test_lists_in_a_config_become_tuples(train_calls, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("run_dir: x\ntrain: {remat: [query, key]}\ntask: {packages: [optax]}\n")
    cli.main(["train", "--config", str(config)])
    assert train_calls[0][0].train.remat == ("query", "key")
    assert train_calls[0][0].task.packages == ("optax",)


@pytest.mark.parametrize("config", sorted((SMOKE.parents[1]).rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_is_valid(config, train_calls):
    assert cli.main(["train", "--config", str(config)]) == 75


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--train.num_stepz", "3"], "train.num_stepz"),
        (["--train.num_steps", "many"], "train.num_steps"),
        (["--train.num_steps", "-3"], "train.num_steps is -3: use a number above 0"),
        (["--task.text_unit", "page"], "task.text_unit"),
        (["--model.dtype", "float16"], "model.dtype is float16"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_a_wrong_argument_is_one_message_that_names_it(arguments, message, capsys, tmp_path):
    assert cli.main(["train", "--run_dir", str(tmp_path / "run"), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") <= 2
    assert not (tmp_path / "run").exists()


def test_a_misspelt_key_in_a_config_is_named(capsys, tmp_path):
    (tmp_path / "c.yaml").write_text("run_dir: x\ntrain: {batchsize: 3}\n")
    assert cli.main(["train", "--config", str(tmp_path / "c.yaml")]) == 2
    assert f"{tmp_path}/c.yaml: train.batchsize is not a field" in capsys.readouterr().err


def test_infer_passes_its_options_on(monkeypatch):
    calls = []
    monkeypatch.setattr(infer, "run", lambda *arguments: calls.append(arguments))
    command = ["infer", "--checkpoint", "runs/x", "--input", "-", "--output", "-"]
    assert cli.main(command) == 0
    assert calls == [(InferConfig(checkpoint="runs/x"), {})]


def test_infer_passes_on_the_given_settings_even_if_they_are_defaults(monkeypatch):
    calls = []
    monkeypatch.setattr(infer, "run", lambda *arguments: calls.append(arguments))
    settings = ["--temperature", "0.5", "--top_k=0", "--stop_tokens", "[5, 6]"]
    assert cli.main(["infer", "--checkpoint", "runs/x", *settings]) == 0
    assert calls[0][1] == {"temperature": 0.5, "top_k": 0, "stop_tokens": (5, 6)}


def test_a_setting_out_of_its_range_is_one_line_before_anything_is_loaded(capsys):
    assert cli.main(["infer", "--checkpoint", "no/model", "--top_p", "3", "--temperature", "1"]) == 2
    assert capsys.readouterr().err == "t5x-lite infer: top_p is 3.0: use a probability above 0 and at most 1\n"


@pytest.mark.parametrize("key", ["#s3cret", "~", "null", "yes", "-x", "--beam_rules", "--", "[x]", "0x10", "'a'"])
@pytest.mark.parametrize("joined", [True, False])
def test_a_server_has_the_key_that_it_is_given(key, joined, monkeypatch):
    calls = []
    monkeypatch.setattr(serve, "run", calls.append)
    option = [f"--api_key={key}"] if joined else ["--api_key", key]
    assert cli.main(["serve", "--checkpoint", "run", *option]) == 0
    assert calls == [ServeConfig(checkpoint="run", api_key=key)]


def test_texts_of_infer_and_eval_are_not_taken_for_options(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(infer, "run", lambda options, generation: calls.append((options.template, generation)))
    assert cli.main(["infer", "--checkpoint", "run", "--template", "--beam_rules=a", "--forced_prefix", "#"]) == 0
    assert calls == [("--beam_rules=a", {"forced_prefix": "#"})]
    monkeypatch.setattr(eval_command, "run", lambda cfg, *args, output, **_: calls.append((cfg.task.inputs, output)))
    texts = ["--task.source", "a", "--task.inputs", "--checkpoint=", "--task.targets", "--", "--output", "#o"]
    assert cli.main(["eval", "--checkpoint", str(tmp_path), *texts]) == 2  # an option is no value
    texts[3] = "--checkpoints="
    assert cli.main(["eval", "--checkpoint", str(tmp_path), *texts]) == 0
    assert calls[1:] == [("--checkpoints=", "#o")]


@pytest.mark.parametrize("option", [["--beam_rules", "hf"], ["--beam_rules=hf"], ["--beam_variant", "hf"]])
def test_an_option_keeps_its_former_name(option, monkeypatch):
    calls = []
    monkeypatch.setattr(infer, "run", lambda *arguments: calls.append(arguments))
    assert cli.main(["infer", "--checkpoint", "runs/x", *option]) == 0
    assert calls[0][1] == {"beam_variant": "hf"}


def test_infer_interactive_is_a_flag_that_reads_no_file(monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(session, "run", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(infer, "run", lambda *arguments: pytest.fail("a file is read"))
    command = ["infer", "--interactive", "--checkpoint", "runs/x"]
    assert cli.main([*command, "--temperature", "0.5"]) == 0
    assert calls == [(InferConfig(checkpoint="runs/x", interactive=True), {"temperature": 0.5})]
    assert cli.main([*command, "--input", "questions.txt"]) == 2
    assert "but --input is questions.txt: leave out --interactive, or --input" in capsys.readouterr().err


def test_serve_passes_its_options_on(monkeypatch):
    calls = []
    monkeypatch.setattr(serve, "run", calls.append)
    assert cli.main(["serve", "--checkpoint", "runs/x"]) == 0
    chosen = {"host": "0.0.0.0", "port": 80, "model_name": "x", "api_key": "secret", "timeout_seconds": 2.5}
    options = [part for name, value in chosen.items() for part in (f"--{name}", str(value))]
    assert cli.main(["serve", "--checkpoint", "runs/x", *options]) == 0
    assert calls == [ServeConfig(checkpoint="runs/x"), ServeConfig(checkpoint="runs/x", **chosen)]


def test_attention_passes_its_options_on(monkeypatch):
    calls = []
    monkeypatch.setattr(attention, "run", calls.append)
    command = ["attention", "--checkpoint", "runs/x", "--text", "some words"]
    assert cli.main(command) == 0
    assert cli.main([*command, "--target", "more", "--layers", "[0, 3]", "--heads", "[2]", "--top", "7", "--json"]) == 0
    required = {"checkpoint": "runs/x", "text": "some words"}
    chosen = {"target": "more", "layers": (0, 3), "heads": (2,), "top": 7, "json": True}
    assert calls == [AttentionConfig(**required), AttentionConfig(**required, **chosen)]


def test_eval_asks_for_its_checkpoint_alone(capsys):
    assert cli.main(["eval"]) == 2
    assert capsys.readouterr().err.startswith("t5x-lite eval: --checkpoint is required")


@pytest.fixture
def eval_calls(monkeypatch):
    calls = []
    monkeypatch.setattr(
        eval_command, "run", lambda cfg, checkpoint, **options: calls.append((cfg, checkpoint, options))
    )
    return calls


@pytest.fixture
def run_dir(tmp_path):
    own = "run_dir: elsewhere\nseed: 7\ncheckpoint: {every_steps: 5}\ntask: {packages: [optax]}\n"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(own)
    return str(tmp_path / "run")


def test_eval_reads_the_config_of_the_run(eval_calls, run_dir):
    arguments = ["--task.eval_percent", "9", "--num_batches", "3", "--output", "-", "--json"]
    assert cli.main(["eval", f"--checkpoint={run_dir}", *arguments]) == 0
    ((cfg, checkpoint, options),) = eval_calls
    assert checkpoint == run_dir
    assert (cfg.seed, cfg.task.packages, cfg.task.eval_percent) == (7, ("optax",), 9)
    assert options == {"step": None, "output": "-", "num_batches": 3, "print_json": True}


def test_eval_reads_only_the_given_config(eval_calls, run_dir, tmp_path):
    (tmp_path / "c.yaml").write_text("checkpoint: {keep: 9}\ntask: {eval_percent: 11}\n")
    assert cli.main(["eval", "--checkpoint", run_dir, "--config", str(tmp_path / "c.yaml")]) == 0
    assert cli.main(["eval", f"--config={tmp_path / 'c.yaml'}", "--checkpoint", run_dir]) == 0
    for cfg, checkpoint, options in eval_calls:
        assert (checkpoint, cfg.run_dir, cfg.seed, cfg.task.packages) == (run_dir, run_dir, 0, None)
        assert cfg.task.eval_percent == 11
        assert options == {"step": None, "output": None, "num_batches": None, "print_json": False}


def test_eval_without_a_checkpoint_is_one_message(eval_calls, run_dir, capsys):
    assert cli.main(["eval", "--config", f"{run_dir}/config.yaml"]) == 2
    assert capsys.readouterr().err == "t5x-lite eval: --checkpoint is missing: name a run directory\n"
    assert not eval_calls


def test_tokenizer_train_passes_its_options_on(monkeypatch):
    calls = []
    monkeypatch.setattr(tokenizer_train, "run", calls.append)
    command = ["tokenizer", "train", "--input", "a.txt", "b.jsonl", "--output", "my.model", "--vocab_size", "300"]
    assert cli.main([*command, "--columns", "[x, y]", "--overwrite", "--model_type", "bpe"]) == 0
    assert cli.main([*command, "--byte_fallback"]) == 0
    required = {"input": ("a.txt", "b.jsonl"), "output": "my.model", "vocab_size": 300}
    assert calls == [
        TokenizerTrainConfig(**required, columns=("x", "y"), overwrite=True, model_type="bpe"),
        TokenizerTrainConfig(**required, byte_fallback=True),
    ]


def test_models_passes_its_names_and_options_on(monkeypatch):
    calls = []
    monkeypatch.setattr(models, "run", lambda names, **options: calls.append((list(names), options)))
    assert cli.main(["models"]) == 0
    assert cli.main(["models", "--json", "ul2", "t5_3b", "--inputs_length", "70", "--targets_length", "30"]) == 0
    assert calls == [
        ([], {"as_json": False, "inputs_length": 512, "targets_length": 114}),
        (["ul2", "t5_3b"], {"as_json": True, "inputs_length": 70, "targets_length": 30}),
    ]


def test_a_misspelt_preset_is_one_line_that_names_near_ones(capsys):
    assert cli.main(["models", "flan_t5_medium"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("t5x-lite models: NAME is 'flan_t5_medium': use one of flan_t5_base, ")
    assert error.count("\n") == 1


def test_a_mistake_in_the_text_of_a_tokenizer_is_one_message(capsys, tmp_path):
    missing = str(tmp_path / "x.txt")
    command = ["tokenizer", "train", "--input", missing, "--output", str(tmp_path / "m"), "--vocab_size", "300"]
    assert cli.main(command) == 2
    assert f"t5x-lite tokenizer train: --input '{missing}' matches no file" in capsys.readouterr().err


def test_without_a_subcommand_the_help_is_shown(capsys):
    assert cli.main([]) == 0
    assert "Pretrains or fine-tunes a model" in capsys.readouterr().out


def test_help_needs_nothing_heavy():
    code = (
        "import sys\nfrom t5x_lite import cli\n"
        "try:\n    cli.main(['train', '--help'])\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('jax', 'numpy', 'grain', 'orbax') if name in sys.modules], file=sys.stderr)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stderr.strip() == "[]"
    assert "total number of optimizer steps" in answer.stdout  # the field's own documentation


def test_a_source_that_names_nothing_is_one_message_and_the_run_directory_stays_usable(capsys, tmp_path):
    command = ["train", "--run_dir", str(tmp_path / "run"), "--task.source", str(tmp_path / "text.jsonl")]
    assert cli.main(command) == 2
    error = capsys.readouterr().err
    assert "text.jsonl' matches no file: name a file, a folder or a pattern" in error
    assert "Traceback" not in error
    (tmp_path / "text.jsonl").write_text('{"text": "short"}\n')
    assert cli.main(command) == 2  # for another reason
    assert "left out 1 documents shorter than task.min_characters 200" in capsys.readouterr().err


TASK_OF_YAML = """
task:
  source: {folder}/train.csv
  eval_source: {folder}/held_out.csv
  inputs: "review: {{review}}"
  targets: "{{label}}"
  choices: {{0: bad, 1: good}}
  tokenizer: {{kind: bytes}}
model: {{emb_dim: 16, num_heads: 4, head_dim: 6, mlp_dim: 24, num_encoder_layers: 1, num_decoder_layers: 1}}
train: {{num_steps: 60, batch_size: 16, inputs_length: 32, targets_length: 6, log_every_steps: 10}}
optimizer: {{learning_rate: 0.05, schedule: constant, warmup_steps: 0}}
eval: {{every_steps: 60}}
mesh: {{data: 8}}
"""


@pytest.mark.slow
def test_a_supervised_task_needs_no_code_and_learns_its_targets(tmp_path, capsys):
    for name, numbers in {"train": range(40), "held_out": range(40, 50)}.items():
        rows = [f"{i % 2},number {i} is {'fine' if i % 2 else 'poor'}" for i in numbers]
        (tmp_path / f"{name}.csv").write_text("\n".join(["label,review", *rows]))
    (tmp_path / "config.yaml").write_text(TASK_OF_YAML.format(folder=tmp_path))
    run_dir = tmp_path / "run"
    assert cli.main(["train", "--config", str(tmp_path / "config.yaml"), "--run_dir", str(run_dir)]) == 0
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[-1] < 0.4 * losses[0]
    assert rows[-1]["eval/loss"] < 0.4 * losses[0]
    error = capsys.readouterr().err
    assert "Tokenised 50 pairs" in error
    assert "40 pairs, run" in " ".join(error.split())  # wherever the line was broken
    # What it learned can be measured later, by what was not asked for then.
    assert cli.main(["eval", "--checkpoint", str(run_dir), "--task.metrics", "[accuracy]", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["step"], found["num_examples"]) == (60, 10)
    assert found["eval/loss"] == pytest.approx(rows[-1]["eval/loss"], rel=1e-5)
    assert found["eval/accuracy"] > 90


def test_data_inspect_prints_examples_of_a_config(tmp_path, capsys):
    (tmp_path / "train.csv").write_text("label,review\n" + "\n".join(f"{i % 2},number {i}" for i in range(9)))
    (tmp_path / "held_out.csv").write_text("label,review\n1,number 10\n")
    (tmp_path / "config.yaml").write_text(TASK_OF_YAML.format(folder=tmp_path))
    command = ["data", "inspect", "--config", str(tmp_path / "config.yaml"), "--run_dir", str(tmp_path / "run")]
    assert cli.main([*command, "--num_examples", "2"]) == 0
    out = capsys.readouterr().out
    assert out.count("== example") == 2
    assert "inputs   review: number " in out
    assert cli.main([*command, "--task.targets", "{other}"]) == 2
    assert "use another directory, or the old value" in capsys.readouterr().err


def test_data_stats_passes_its_options_on(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(data_stats, "run", lambda cfg, **options: calls.append((cfg, options)))
    (tmp_path / "config.yaml").write_text(TASK_OF_YAML.format(folder=tmp_path))
    command = ["data", "stats", "--config", str(tmp_path / "config.yaml"), "--run_dir", str(tmp_path / "run")]
    assert cli.main([*command, "--train.targets_length", "9"]) == 0
    assert cli.main([*command, "--json", "--output", "x.svg", "--quantile", "0.5"]) == 0
    (cfg, options), (_, more) = calls
    assert isinstance(cfg, RunConfig)
    assert (cfg.train.targets_length, cfg.train.inputs_length) == (9, 32)
    assert options == {"as_json": False, "output": None, "draws": True, "quantile": 0.99}
    assert more == {"as_json": True, "output": "x.svg", "draws": True, "quantile": 0.5}


def test_data_stats_prints_tables_and_draws(tmp_path, capsys):
    (tmp_path / "train.csv").write_text("label,review\n" + "\n".join(f"{i % 2},number {i}" for i in range(9)))
    (tmp_path / "held_out.csv").write_text("label,review\n1,number 10\n")
    (tmp_path / "config.yaml").write_text(TASK_OF_YAML.format(folder=tmp_path))
    run_dir = tmp_path / "run"
    assert cli.main(["data", "stats", "--config", str(tmp_path / "config.yaml"), "--run_dir", str(run_dir)]) == 0
    out = capsys.readouterr().out
    assert f"== task: {tmp_path}/train.csv and {tmp_path}/held_out.csv" in out
    assert "train unpacked" in out
    assert (run_dir / "lengths.svg").is_file() == can_draw()


def test_convert_writes_a_model_for_hugging_face(capsys, tmp_path):
    source = tmp_path / "source"
    save_hf(tiny.model(dataclasses.replace(tiny.T5_1_1, vocab_size=384)), ByteTokenizer(), source)
    (source / "tokenizer_config.json").unlink()
    assert cli.main(["convert", str(source), str(tmp_path / "out")]) == 2  # it has no tokenizer
    assert "has no tokenizer: put its spiece.model" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (source / "tokenizer_config.json").write_text('{"tokenizer_class": "ByT5Tokenizer"}')
    assert cli.main(["convert", str(source), str(tmp_path / "out")]) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"config.json", "generation_config.json", "model.safetensors", "tokenizer_config.json"}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("source: null", "task.source is null"),
        ("{source: a, noise_density: 3.0}", "task.noise_density is 3.0"),
        ("{source: a, tokenizer: null}", "task.tokenizer is null"),
    ],
)
def test_a_mistake_in_a_task_of_a_mixture_names_the_task(fields, problem, capsys, tmp_path):
    fields = fields if fields.startswith("{") else f"{{{fields}}}"
    (tmp_path / "c.yaml").write_text(
        f"run_dir: x\ntask: {{mixture: {{tasks: {{one: {fields}, two: {{source: b}}}}}}}}\n"
    )
    assert cli.main(["train", "--config", str(tmp_path / "c.yaml")]) == 2
    assert f"t5x-lite train: task.mixture.tasks.one: {problem}: " in capsys.readouterr().err


@pytest.mark.parametrize("field", ["task.preprocess", "task.base", "task.prepared", "model.pretrained"])
def test_null_is_no_name_of_code_or_of_a_model(field, capsys):
    assert cli.main(["train", "--run_dir", "x", f"--{field}", "null"]) == 2
    section, name = field.split(".")
    remedy = f"leave it out, or write --config '{{{section}: {{{name}: null}}}}' after a config that gives it"
    assert f"--{field} is the text null, which names nothing: {remedy}" in capsys.readouterr().err
