"""Tests t5x_lite/data/tokenizers/model_proto.py"""

import subprocess
import sys

import pytest
from google.protobuf.message import DecodeError

from t5x_lite.data.tokenizers.model_proto import UNKNOWN, USER_DEFINED, parse_model
from t5x_lite.data.tokenizers.train import fit_sentencepiece_model

MODEL = fit_sentencepiece_model(["a few words", "some more words"] * 5, vocab_size=16, num_sentinels=2)


def test_a_model_goes_through_unchanged():
    assert parse_model(MODEL).SerializeToString() == MODEL


def test_the_fields_are_those_of_sentencepieces_own_classes():
    own = subprocess.run(  # in a process of its own: these classes may not go with this protobuf
        [
            sys.executable,
            "-c",
            "import sys\nfrom sentencepiece import sentencepiece_model_pb2 as pb\n"
            "m = pb.ModelProto.FromString(sys.stdin.buffer.read())\n"
            "print([(p.piece, round(p.score, 4), p.type) for p in m.pieces])\n"
            "print(m.trainer_spec.eos_piece, m.trainer_spec.pad_piece, m.HasField('normalizer_spec'))",
        ],
        input=MODEL,
        capture_output=True,
        check=False,
    )
    if own.returncode:
        pytest.skip(own.stderr.decode().splitlines()[-1])
    model = parse_model(MODEL)
    pieces = [(piece.piece, round(piece.score, 4), piece.type) for piece in model.pieces]
    spec = model.trainer_spec
    expected = f"{pieces}\n{spec.eos_piece} {spec.pad_piece} {model.HasField('normalizer_spec')}\n"
    assert own.stdout.decode() == expected
    assert [piece.type for piece in model.pieces][:4] == [3, 3, UNKNOWN, 1]


def test_a_piece_can_be_added():
    model = parse_model(MODEL)
    model.pieces.add(piece="<extra_id_0>", score=0.0, type=USER_DEFINED)
    again = parse_model(model.SerializeToString())
    assert [again.pieces[-1].piece, again.pieces[-1].type, len(again.pieces)] == ["<extra_id_0>", USER_DEFINED, 15]


def test_what_is_no_model_is_refused():
    with pytest.raises(DecodeError):
        parse_model(b"\xff\xff no model")
