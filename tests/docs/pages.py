"""The tiny model and the `t5x-lite` with few training steps that the code of README.md and docs/ is run with."""

import dataclasses
import os
import pathlib
import sys

import t5x_lite
from t5x_lite.data.tokenizers.sentencepiece import SentencePieceTokenizer
from t5x_lite.data.tokenizers.train import train_sentencepiece_model
from tests import tiny
from tests.paths import ROOT

FEWER_STEPS = [
    "--train.num_steps=3",
    "--train.num_epochs=null",
    "--train.log_every_steps=1",
    "--eval.num_batches=1",
    "--optimizer.warmup_steps=2",
]
TEXT = ["Translate to German: Good morning. summarize: what is the boiling point of water? 100 degrees <of> that."] * 9
COMMAND = """#!{python}
import sys
from t5x_lite.cli import main
if __name__ == "__main__":  # worker processes import this file
    sys.exit(main(sys.argv[1:] + ({arguments} if sys.argv[1] == "train" else [])))
"""


def make_flan(directory: str) -> None:
    """Writes a tiny model of Flan-T5's form, as Hugging Face has them."""
    cfg = dataclasses.replace(t5x_lite.presets["flan_t5_small"], vocab_size=256, emb_dim=16, num_heads=4, head_dim=5)
    cfg = dataclasses.replace(cfg, mlp_dim=24, num_encoder_layers=2, num_decoder_layers=1)
    tokenizer = SentencePieceTokenizer(train_sentencepiece_model(TEXT, vocab_size=140), 100)
    t5x_lite.save_hf(tiny.drawn(t5x_lite.T5, cfg), tokenizer, directory)


def make_command(folder: pathlib.Path) -> dict[str, str]:
    """Writes the `t5x-lite` that a page calls; returns the environment in which it is found.

    It runs the package in `folder` if there is one, else that of this checkout.
    """
    command = folder / "bin" / "t5x-lite"
    command.parent.mkdir()
    command.write_text(COMMAND.format(python=sys.executable, arguments=FEWER_STEPS))
    command.chmod(0o755)
    path = os.pathsep.join([str(command.parent), str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
    package = folder if (folder / "t5x_lite").exists() else ROOT
    return os.environ | {"PATH": path, "PYTHONPATH": os.pathsep.join([str(package), str(folder)])}
