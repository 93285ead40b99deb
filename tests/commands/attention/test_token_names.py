"""Tests t5x_lite/commands/attention/token_names.py"""

from t5x_lite.commands.attention.token_names import token_names
from t5x_lite.data.tokenizers.bytes import ByteAndSentinelTokenizer
from tests.commands.attention.models import TOKENIZER


def test_invisible_tokens_have_names():
    names = token_names(TOKENIZER)
    assert names[:3] == ["<pad>", "</s>", "<unk>"]
    assert [names[byte + 3] for byte in b"a \n\t\x1b"] == ["a", "\u2581", "\u23ce", "\u21e5", "<0x1B>"]
    assert [names[i] for i in TOKENIZER.encode("\u00fc")] == ["<0xC3>", "<0xBC>"]
    assert [names[i] for i in TOKENIZER.encode("<extra_id_0><extra_id_9>")] == ["<extra_id_0>", "<extra_id_9>"]
    above = ByteAndSentinelTokenizer(7)
    assert token_names(above)[above.sentinel_id(5)] == "<extra_id_5>"
    assert len(token_names(above)) == above.vocab_size
