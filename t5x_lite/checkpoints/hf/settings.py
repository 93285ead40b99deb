# SPDX-License-Identifier: Apache-2.0
"""Settings of a Hugging Face model directory that affect what transformers returns, but are not followed here.

`task_specific_params`, which T5's published configs have, is none of them: no class of transformers 5 reads it.
"""

import pathlib

from t5x_lite.checkpoints.hf.config import CONFIG_FILE
from t5x_lite.checkpoints.hf.tokenizer import tokenizer_directory
from t5x_lite.data.tokenizers.directory import CONFIG_FILE as TOKENIZER_CONFIG
from t5x_lite.files.json_object import read_json_if_there

# Settings of the tokenizer that transformers follows, with the value that has no effect.
TOKENIZER_SETTINGS = {
    "truncation_side": "right",
    "split_special_tokens": False,
    "clean_up_tokenization_spaces": False,
    "chat_template": None,
}


def unfollowed_settings(directory: pathlib.Path) -> str | None:
    """Returns a line about ignored settings in `config.json` and `tokenizer_config.json`, or None."""
    prefix = read_json_if_there(directory / CONFIG_FILE).get("prefix")
    fields = read_json_if_there(tokenizer_directory(directory) / TOKENIZER_CONFIG)
    parts = [f"prefix {prefix!r:.40} (begin the inputs with it)"] if prefix else []
    parts += [
        f"{name} {fields[name]!r:.40}"
        for name, usual in TOKENIZER_SETTINGS.items()
        if fields.get(name) not in (usual, None)
    ]
    return f"{directory} sets {', '.join(parts)}: ignored" if parts else None
