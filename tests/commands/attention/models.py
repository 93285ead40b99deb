"""Tiny models of all architectures, and the options of a run on them."""

import dataclasses

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.config.commands import AttentionConfig
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.model.architectures import Architecture
from t5x_lite.model.decoder import Decoder
from t5x_lite.model.encoder import MaskedLM, SequenceClassifier, TokenClassifier
from t5x_lite.model.transformer import T5
from tests import tiny

CFG = dataclasses.replace(tiny.T5_1_1, vocab_size=384)  # 2 encoder layers, 4 decoder layers, 3 heads
TOKENIZER = ByteTokenizer(100)
LABELS = ("bad", "fair", "good", "odd", "poor")
KINDS = {
    "encoder_decoder": (T5, ()),
    "causal_lm": (Decoder, ()),
    "prefix_lm": (Decoder, ()),
    "masked_lm": (MaskedLM, ()),
    "sequence_classifier": (SequenceClassifier, LABELS),
    "token_classifier": (TokenClassifier, LABELS),
}


def pretrained(name: str) -> Pretrained:
    kind, labels = KINDS[name]
    model = tiny.drawn(kind, CFG, *((len(labels),) if labels else ()))
    return Pretrained(model, TOKENIZER, CFG, 1_234, Architecture(name, labels))


def options(**fields) -> AttentionConfig:
    return AttentionConfig(**{"checkpoint": "runs/x", "text": "a cat", "max_new_tokens": 6, "top": 3} | fields)
