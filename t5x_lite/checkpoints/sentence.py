# SPDX-License-Identifier: Apache-2.0
"""The head of a sentence encoder, such as Sentence-T5 or GTR, in the files of sentence-transformers.

`modules.json` lists what follows the encoder: pooling, dense layers and normalisation, each in its own directory. The
encoder itself is beside it, or in `0_Transformer`, and is read as any other.

Shape letters: D input features, E output features.
"""

import dataclasses
import json
import pathlib
from typing import Any, Literal

import numpy as np

from t5x_lite.checkpoints import safetensors
from t5x_lite.checkpoints.weight_files import open_weights
from t5x_lite.checkpoints.weights import LazyModel
from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.files.atomic_write import write_atomically
from t5x_lite.files.file_name import is_file_name
from t5x_lite.files.json_object import MAX_BYTES, parse_json, read_json, read_json_if_there
from t5x_lite.files.messages import listed
from t5x_lite.files.reading import read_bytes
from t5x_lite.model.sentence_head import Dense, SentenceHead

MODULES_FILE, TRANSFORMER_FILE, PROMPTS_FILE = (
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
)
TOKENIZER_CONFIG = "tokenizer_config.json"
POOLING_MODES: dict[str, Literal["mean", "first"]] = {"mean": "mean", "cls": "first"}
OLD_MODES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
ACTIVATIONS = {"Identity": "identity", "Tanh": "tanh"}
NO_LIMIT = 10**6  # transformers writes huge numbers where a tokenizer has no limit
SENTENCE_FEATURE = "sentence_embedding"


def open_checkpoint(path: pathlib.Path, tokenizer: Tokenizer | None) -> LazyModel:
    """Opens a directory of sentence-transformers; `tokenizer` replaces its own."""
    from t5x_lite.checkpoints.hf import weights as hf

    transformer = _modules(path)[0][1]
    model = hf.open_checkpoint(transformer, tokenizer)
    return dataclasses.replace(model, head=read_head(path, model.config.emb_dim))


def read_head(path: pathlib.Path, emb_dim: int) -> SentenceHead | None:
    """Returns the head in a directory, whose encoder has `emb_dim` features; None if there is none.

    Raises:
      ValueError: if a file is missing or damaged, or the head has a form that is not supported.
    """
    if not (path / MODULES_FILE).is_file():
        return None
    (_, transformer), *modules = _modules(path)
    if not modules or modules[0][0] != "Pooling":
        raise ValueError(
            f"{path / MODULES_FILE} has no Pooling after its Transformer: only pooled encoders are supported"
        )
    pooling = _pooling(modules[0][1] / "config.json")
    dense, normalise, features = [], False, emb_dim
    for name, directory in modules[1:]:
        if normalise or name not in ("Dense", "Normalize"):
            raise ValueError(
                f"{path / MODULES_FILE} has {name!r:.80} where it is not supported: Pooling may be followed by Dense, "
                "any number of times, and then by Normalize"
            )
        if name == "Normalize":
            normalise = True
            continue
        dense.append(_dense(directory, features))
        features = dense[-1].kernel_DE.shape[1]
    return SentenceHead(
        pooling=pooling,
        dense=tuple(dense),
        normalise=normalise,
        max_tokens=_max_tokens(transformer),
        prompt=_prompt(path),
    )


def write_head(directory: pathlib.Path, model: LazyModel, dtype: np.dtype) -> None:
    """Writes the files of a model's head, if it has one, beside its encoder, which is stored as `dtype`.

    Dense layers keep their own dtype unless the encoder's is changed too.
    """
    head = model.head
    if head is None:
        return
    modules = ["Transformer", "Pooling", *["Dense"] * len(head.dense), *["Normalize"] * head.normalise]
    places = ["", *(f"{index}_{name}" for index, name in enumerate(modules[1:], start=1))]
    entries = [
        {"idx": index, "name": str(index), "path": place, "type": f"sentence_transformers.models.{name}"}
        for index, (name, place) in enumerate(zip(modules, places, strict=True))
    ]
    for place in places[1:]:
        (directory / place).mkdir()
    modes = {name: POOLING_MODES[mode] == head.pooling for name, mode in OLD_MODES.items()}
    _write_json(directory / places[1] / "config.json", {"word_embedding_dimension": model.config.emb_dim, **modes})
    for place, dense in zip(places[2:], head.dense, strict=False):
        _write_dense(directory / place, dense, dense.kernel_DE.dtype if dtype == model.dtype else dtype)
    limit = {} if head.max_tokens is None else {"max_seq_length": head.max_tokens}
    _write_json(directory / TRANSFORMER_FILE, {**limit, "do_lower_case": False})
    if head.prompt:
        _write_json(directory / PROMPTS_FILE, {"prompts": {"default": head.prompt}, "default_prompt_name": "default"})
    _write_json(directory / MODULES_FILE, entries)


def _modules(path: pathlib.Path) -> list[tuple[str, pathlib.Path]]:
    """Returns the class and the directory of each module, the Transformer first."""
    where = path / MODULES_FILE
    modules = parse_json(read_bytes(where, MAX_BYTES), where)
    try:
        pairs = [(module["type"].rpartition(".")[2], module["path"]) for module in modules]
    except (TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"{where} is not a list of modules with a type and a path: download it again") from error
    if not pairs or pairs[0][0] != "Transformer":
        raise ValueError(f"{where} does not begin with a Transformer: only encoders of text are supported")
    for _, place in pairs:
        if place != "" and not is_file_name(place):
            raise ValueError(f"{where} has the path {place!r:.80}: only directories inside its own are read")
    return [(name, path / place) for name, place in pairs]


def _pooling(path: pathlib.Path) -> Literal["mean", "first"]:
    fields = read_json(path)
    mode = fields.get("pooling_mode")
    if mode is None:
        modes = [name for name, on in fields.items() if name.startswith("pooling_mode_") and on is True]
        mode = [OLD_MODES.get(name, name) for name in modes] or ["mean"]
    mode = mode[0] if isinstance(mode, list) and len(mode) == 1 else mode
    if not isinstance(mode, str) or mode not in POOLING_MODES:
        raise ValueError(f"{path} has the pooling mode {mode!r:.80}: only {' and '.join(POOLING_MODES)} are supported")
    if fields.get("include_prompt") is False:
        raise ValueError(f"{path} has include_prompt false, which is not supported: the mean is over all tokens")
    return POOLING_MODES[mode]


def _dense(directory: pathlib.Path, num_features: int) -> Dense:
    where = directory / "config.json"
    fields, tensors = read_json(where), open_weights(directory)
    activation = str(fields.get("activation_function", "Tanh")).rpartition(".")[2]
    features = {fields.get(name, SENTENCE_FEATURE) for name in ("module_input_name", "module_output_name")}
    if activation not in ACTIVATIONS:
        raise ValueError(f"{where} has activation_function {activation!r:.80}: use one of {', '.join(ACTIVATIONS)}")
    if fields.get("use_residual") or not features <= {SENTENCE_FEATURE, None}:
        raise ValueError(f"{where} has a residual connection or other features than {SENTENCE_FEATURE}: not supported")
    if "linear.weight" not in tensors or tensors.keys() - {"linear.weight", "linear.bias"}:
        raise ValueError(
            f"{directory} has the weights {listed(sorted(tensors), 3)}, but a Dense has linear.weight and linear.bias"
        )
    weight_ED, bias_E = tensors["linear.weight"].read(), None
    if weight_ED.ndim != 2 or weight_ED.shape[1] != num_features:
        raise ValueError(f"{directory} has linear.weight of shape {list(weight_ED.shape)} for {num_features} features")
    if "linear.bias" in tensors:
        bias_E = tensors["linear.bias"].read()
        if bias_E.shape != weight_ED.shape[:1]:
            raise ValueError(f"{directory} has linear.bias of shape {list(bias_E.shape)}, not {[len(weight_ED)]}")
    return Dense(kernel_DE=weight_ED.T, bias_E=bias_E, activation=ACTIVATIONS[activation])


def _write_dense(directory: pathlib.Path, dense: Dense, dtype: np.dtype) -> None:
    arrays = {"linear.weight": np.ascontiguousarray(dense.kernel_DE.T)}
    if dense.bias_E is not None:
        arrays["linear.bias"] = dense.bias_E
    shapes = {name: array.shape for name, array in arrays.items()}
    safetensors.write_weights(directory, shapes, lambda name: iter([arrays[name]]), dtype)
    D, E = dense.kernel_DE.shape
    activation = {"identity": "torch.nn.modules.linear.Identity", "tanh": "torch.nn.modules.activation.Tanh"}
    fields = {"in_features": D, "out_features": E, "bias": dense.bias_E is not None}
    _write_json(directory / "config.json", fields | {"activation_function": activation[dense.activation]})


def _max_tokens(transformer: pathlib.Path) -> int | None:
    """Returns the maximum length of inputs: sentence-transformers' own, or else the tokenizer's."""
    for name, field in ((TRANSFORMER_FILE, "max_seq_length"), (TOKENIZER_CONFIG, "model_max_length")):
        fields = read_json_if_there(transformer / name)
        if fields.get("do_lower_case") and name == TRANSFORMER_FILE:
            raise ValueError(f"{transformer / name} has do_lower_case true, which is not supported: set it to false")
        limit: Any = fields.get(field)
        if limit is not None:
            if type(limit) not in (int, float) or not limit >= 1:
                raise ValueError(f"{transformer / name} has {field} {limit!r:.80}: it must be a number of tokens")
            return int(limit) if limit < NO_LIMIT else None
    return None


def _prompt(path: pathlib.Path) -> str:
    """Returns the prompt that sentence-transformers puts before every input by default."""
    where = path / PROMPTS_FILE
    fields = read_json_if_there(where)
    name = fields.get("default_prompt_name")
    if name is None:
        return ""
    prompts = fields.get("prompts")
    prompt = prompts.get(name) if isinstance(prompts, dict) and isinstance(name, str) else None
    if not isinstance(prompt, str):
        raise ValueError(f"{where} has default_prompt_name {name!r:.80}, which is not one of its prompts: correct it")
    return prompt


def _write_json(path: pathlib.Path, content: Any) -> None:
    write_atomically(path, json.dumps(content, indent=2) + "\n")
