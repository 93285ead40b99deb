# SPDX-License-Identifier: Apache-2.0
"""Converts the class named in a Hugging Face `config.json` to and from an Architecture and its parameters.

Encoders alone and token classifiers have the same form in transformers and here. Sequence classifiers and question
answering of transformers read the decoder's states, as no head does here.
"""

import pathlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from t5x_lite.checkpoints.param_names import Form, Row, rows
from t5x_lite.checkpoints.weights import param_shapes
from t5x_lite.config import ModelConfig
from t5x_lite.config.architectures import ENCODER, ENCODER_DECODER, Architecture
from t5x_lite.files.messages import listed

FAMILIES = ("UMT5", "MT5", "T5")  # prefixes of class names
ENCODER_CLASS, TOKENS_CLASS = "EncoderModel", "ForTokenClassification"  # after the family
# The prefix of the encoder's parameter names.
PREFIXES = {"encoder": "", "token_classifier": "transformer."}
OTHER_HEADS = {  # by the ending of the class name, after the family
    "ForSequenceClassification": "a head on the decoder's last state, but ours reads the mean of the encoder's: "
    "train a sequence_classifier, with model.pretrained naming the T5 it was made from",
    "ForQuestionAnswering": "a head that marks spans, which t5x_lite does not have: train an "
    "encoder_decoder to write the answers, with model.pretrained naming the T5 it was made from",
}
DECODER_ONLY_NAMES = ("decoder.", "lm_head.")


def read_architecture(path: pathlib.Path, fields: Mapping[str, Any], names: Collection[str]) -> Architecture:
    """Returns the architecture of a model, given its config and the names of its tensors.

    Raises:
      ValueError: if the class has a head that t5x_lite does not have, or its labels are malformed.
    """
    ending = _class_ending(fields)
    if ending in OTHER_HEADS:
        raise ValueError(f"{path} has architectures {fields['architectures']}, with {OTHER_HEADS[ending]}")
    if ending == TOKENS_CLASS:
        return Architecture("token_classifier", _labels(path, fields.get("id2label")))
    if ending == ENCODER_CLASS or (ending is None and not any(name.startswith("decoder.") for name in names)):
        return ENCODER
    return ENCODER_DECODER


def class_name(cfg: ModelConfig, architecture: Architecture) -> str:
    """Returns the class of transformers that opens what is written."""
    if architecture == ENCODER_DECODER:
        return "AutoModelForSeq2SeqLM"
    family = "UMT5" if cfg.relative_bias_per_layer else "T5"
    return f"{family}{ENCODER_CLASS if architecture == ENCODER else TOKENS_CLASS}"


def architecture_fields(cfg: ModelConfig, architecture: Architecture) -> dict[str, Any]:
    """Returns the fields of config.json that differ from an encoder-decoder's."""
    if architecture == ENCODER_DECODER:
        return {}
    fields = {"architectures": [class_name(cfg, architecture)], "is_encoder_decoder": False, "use_cache": False}
    if architecture.labels:
        fields["id2label"] = {str(number): label for number, label in enumerate(architecture.labels)}
        fields["label2id"] = {label: number for number, label in enumerate(architecture.labels)}
    return fields


def check_writable(architecture: Architecture, what: str) -> None:
    """Raises ValueError, beginning with `what`, if Hugging Face has no class for an architecture."""
    if architecture != ENCODER_DECODER and architecture.name not in PREFIXES:
        remedy = "use --format t5x-lite"
        if architecture.traits.has_encoder:
            remedy += ", or save its encoder alone with t5x_lite.save_hf(model.encoder, ...)"
        raise ValueError(
            f"{what} is {architecture.with_article}, but --format hf supports only encoder-decoders, encoders and "
            f"token classifiers: {remedy}"
        )


def architecture_rows(cfg: ModelConfig, architecture: Architecture) -> Iterator[Row]:
    """Yields every parameter of an architecture, with Hugging Face's names for the encoder without their prefix."""
    shapes = param_shapes(cfg, architecture)
    inside = "" if "embedding" in shapes else "encoder/"
    for row in rows(cfg):
        if inside + row.ours in shapes:
            yield row._replace(ours=inside + row.ours)
    if architecture.name == "token_classifier":
        yield Row("classifier/kernel", "classifier.weight", "", Form.KERNEL)
        yield Row("classifier/bias", "classifier.bias", "", Form.KEPT)


def stored_name(name: str, architecture: Architecture) -> str:
    """Adds the prefix of the encoder's parameter names."""
    return name if name.startswith("classifier.") else PREFIXES.get(architecture.name, "") + name


def own_tensors(path: pathlib.Path, tensors: Mapping[str, Any], architecture: Architecture) -> tuple[dict, str]:
    """Returns an architecture's tensors without the prefix of their names, and a line about those left out, if any."""
    prefix = PREFIXES.get(architecture.name, "")
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    left_out = sorted(name for name in own if architecture.name in PREFIXES and name.startswith(DECODER_ONLY_NAMES))
    for name in left_out:
        del own[name]
    told = f"{path} is an encoder: {listed(left_out, 3)} are left out, as in transformers" if left_out else ""
    return own, told


def _class_ending(fields: Mapping[str, Any]) -> str | None:
    """Returns the class that a config names, without its family, such as "EncoderModel"; None if it is not a T5's."""
    names = fields.get("architectures")
    for name in names if isinstance(names, list) else ():
        family = next((family for family in FAMILIES if str(name).startswith(family)), None)
        if family:
            return str(name).removeprefix(family)
    return None


def _labels(path: pathlib.Path, given: Any) -> tuple[str, ...]:
    """Returns the labels in the order of their logits; transformers does not write its two default labels."""
    if given is None:
        return ("LABEL_0", "LABEL_1")
    numbers = [str(number) for number in range(len(given))] if isinstance(given, dict) else []
    if len(numbers) < 2 or given.keys() != set(numbers) or not all(isinstance(given[i], str) for i in numbers):
        raise ValueError(f"{path} has id2label {given!r:.80}: it must name two or more labels, numbered from 0")
    labels = tuple(given[number] for number in numbers)
    if len(set(labels)) < len(labels):
        raise ValueError(f"{path} has id2label {given!r:.80}: give each label a different name")
    return labels
