# SPDX-License-Identifier: Apache-2.0
"""SentencePiece's file format, as far as t5x_lite reads and writes it; the rest of a model goes through unchanged.

SentencePiece ships classes of its own for it, generated for the newest protobuf alone: beside a package that asks for
an older one, such as Apache Beam, they cannot be imported.

Source: SentencePiece `sentencepiece_model.proto`.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

UNKNOWN, USER_DEFINED = 2, 4  # types of a piece

_Field = descriptor_pb2.FieldDescriptorProto


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="t5x_lite/sentencepiece.proto", package="t5x_lite.sentencepiece")
    piece = file.message_type.add(name="Piece")
    piece.field.add(name="piece", number=1, label=_Field.LABEL_OPTIONAL, type=_Field.TYPE_STRING)
    piece.field.add(name="score", number=2, label=_Field.LABEL_OPTIONAL, type=_Field.TYPE_FLOAT)
    piece.field.add(name="type", number=3, label=_Field.LABEL_OPTIONAL, type=_Field.TYPE_INT32, default_value="1")
    trainer = file.message_type.add(name="Trainer")
    for name, number, default in (("eos_piece", 47, "</s>"), ("pad_piece", 48, "<pad>")):
        trainer.field.add(
            name=name, number=number, label=_Field.LABEL_OPTIONAL, type=_Field.TYPE_STRING, default_value=default
        )
    file.message_type.add(name="Normalizer")
    model = file.message_type.add(name="Model")
    for name, number, kind, label in (
        ("pieces", 1, "Piece", _Field.LABEL_REPEATED),
        ("trainer_spec", 2, "Trainer", _Field.LABEL_OPTIONAL),
        ("normalizer_spec", 3, "Normalizer", _Field.LABEL_OPTIONAL),
    ):
        type_name = f".{file.package}.{kind}"
        model.field.add(name=name, number=number, label=label, type=_Field.TYPE_MESSAGE, type_name=type_name)
    return file


_pool = descriptor_pool.DescriptorPool()
_pool.Add(_file())
_Model: Any = message_factory.GetMessageClass(_pool.FindMessageTypeByName("t5x_lite.sentencepiece.Model"))


def parse_model(content: bytes) -> Any:
    """Returns a message with `pieces` (each `piece`, `score`, `type`), `trainer_spec` and `normalizer_spec`.

    Raises:
      google.protobuf.message.DecodeError: if the content is none.
    """
    return _Model.FromString(content)
