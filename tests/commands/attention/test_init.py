"""Tests t5x_lite/commands/attention/__init__.py"""

import dataclasses
import json

import jax
import numpy as np
import pytest

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.commands import attention
from t5x_lite.commands.attention import chart, look, output_paths, token_names
from t5x_lite.config import AttentionConfig
from t5x_lite.data.tokenizers import ByteTokenizer
from t5x_lite.data.tokenizers.bytes import ByteAndSentinelTokenizer
from t5x_lite.inference.api import generate
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


def ids(text: str) -> list[int]:
    return [*TOKENIZER.encode(text), 1]


called = jax.jit(lambda model, *arguments: model(*arguments))  # at once: operation by operation takes seconds


def softmax(logits) -> np.ndarray:
    exp = np.exp(np.asarray(logits, np.float64))
    return exp / exp.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("name", ["encoder_decoder", pytest.param("causal_lm", marks=pytest.mark.slow), "prefix_lm"])
def test_what_a_model_decodes_by_itself_is_the_most_probable_at_each_step(name):
    model = pretrained(name)
    contents = look(model, options())
    assert len(contents.steps) <= 6
    for step in contents.steps:
        assert step.chosen == step.candidates[0]
    assert contents.facts == {"text": "a cat", "chosen by the model": generate(model, ["a cat"], max_new_tokens=6)[0]}


def test_the_probabilities_of_a_target_are_those_of_the_t5():
    model = pretrained("encoder_decoder")
    contents = look(model, options(target="so"))
    assert contents.facts == {"text": "a cat", "target": "so"}
    logits_1TV = called(model.model, np.asarray([ids("a cat")]), np.asarray([[0, *TOKENIZER.encode("so")]]))
    expected_TV = softmax(logits_1TV)[0]
    assert [(step.place, step.reads, step.chosen.token) for step in contents.steps] == [
        (0, "<pad>", "s"),
        (1, "s", "o"),
        (2, "o", "</s>"),
    ]
    for step, token, expected_V in zip(contents.steps, ids("so"), expected_TV, strict=True):
        assert step.chosen.probability == pytest.approx(expected_V[token], rel=1e-4)
        best = np.sort(expected_V[: TOKENIZER.vocab_size])[::-1][:3]
        assert [one.probability for one in step.candidates] == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("name", ["causal_lm", "prefix_lm"])
def test_a_decoder_predicts_the_target_after_the_prompt(name):
    model = pretrained(name)
    contents = look(model, options(target="so"))
    prompt = TOKENIZER.encode("a cat")
    inputs_1T = np.asarray([[0, *prompt, *TOKENIZER.encode("so")]])
    prefix_1T = np.asarray([[1] * (1 + len(prompt)) + [0, 0]]) if name == "prefix_lm" else None
    expected_TV = softmax(called(model.model, inputs_1T, prefix_1T))[0]
    assert [(step.place, step.reads, step.chosen.token) for step in contents.steps] == [
        (5, "t", "s"),
        (6, "s", "o"),
        (7, "o", "</s>"),
    ]
    for step, token in zip(contents.steps, ids("so"), strict=True):
        assert step.chosen.probability == pytest.approx(expected_TV[step.place, token], rel=1e-4)
    (one,) = contents.maps
    assert one.name == "decoder self-attention"
    assert one.queries == one.keys == ("<pad>", "a", "\u2581", "c", "a", "t", "s", "o")
    assert one.predicts == ("", "", "", "", "", "s", "o", "</s>")
    sees_ahead = one.weights_LNQK[..., 0, 5] > 0
    assert sees_ahead.all() if name == "prefix_lm" else not sees_ahead.any()


def test_a_masked_lm_predicts_each_hidden_token():
    model = pretrained("masked_lm")
    text = "a <extra_id_0>at<extra_id_0>"
    expected_SV = softmax(called(model.model, np.asarray([ids(text)])))[0]
    given = look(model, options(text=text, target="cs"))
    assert [(step.place, step.reads, step.chosen.token) for step in given.steps] == [
        (2, "<extra_id_0>", "c"),
        (5, "<extra_id_0>", "s"),
    ]
    for step, token in zip(given.steps, TOKENIZER.encode("cs"), strict=True):
        assert step.chosen.probability == pytest.approx(expected_SV[step.place, token], rel=1e-4)
    free = look(model, options(text=text))
    for step in free.steps:
        best = int(expected_SV[step.place, : TOKENIZER.vocab_size].argmax())
        assert step.chosen == step.candidates[0]
        assert step.chosen.probability == pytest.approx(expected_SV[step.place, best], rel=1e-4)
    assert look(model, options()).steps == ()


def test_a_sequence_classifier_has_one_step_of_labels():
    model = pretrained("sequence_classifier")
    expected_C = softmax(called(model.model, np.asarray([ids("a cat")])))[0]
    (step,) = look(model, options(target="odd")).steps
    assert (step.place, step.reads, step.chosen.token) == (-1, "", "odd")
    assert step.chosen.probability == pytest.approx(expected_C[3], rel=1e-4)
    contents = look(model, options())
    assert contents.steps[0].chosen == contents.steps[0].candidates[0]
    assert contents.facts["chosen by the model"] == LABELS[int(expected_C.argmax())]
    assert [one.token for one in contents.steps[0].candidates] == [LABELS[i] for i in np.argsort(-expected_C)[:3]]


def test_a_token_classifier_has_a_step_a_word():
    model = pretrained("token_classifier")
    expected_SC = softmax(called(model.model, np.asarray([ids("a cat")])))[0]
    contents = look(model, options(target="odd fair"))
    assert [(step.place, step.reads, step.chosen.token) for step in contents.steps] == [
        (0, "a", "odd"),
        (2, "c", "fair"),
    ]
    assert contents.steps[0].chosen.probability == pytest.approx(expected_SC[0, 3], rel=1e-4)
    assert contents.steps[1].chosen.probability == pytest.approx(expected_SC[2, 1], rel=1e-4)
    assert contents.maps[0].predicts == ("odd", "", "fair", "", "", "")
    assert contents.facts["target"] == "odd fair"


def test_the_maps_of_a_t5_have_the_tokens_that_are_read():
    encoder, decoder, cross = look(pretrained("encoder_decoder"), options(target="so")).maps
    inputs, read, predicts = ("a", "\u2581", "c", "a", "t", "</s>"), ("<pad>", "s", "o"), ("s", "o", "</s>")
    assert (encoder.name, encoder.queries, encoder.keys) == ("encoder self-attention", inputs, inputs)
    assert (decoder.name, decoder.queries, decoder.keys) == ("decoder self-attention", read, read)
    assert (cross.name, cross.queries, cross.keys) == ("cross-attention", read, inputs)
    assert encoder.predicts == ("",) * 6
    assert decoder.predicts == cross.predicts == predicts
    assert [one.weights_LNQK.shape for one in (encoder, decoder, cross)] == [(2, 3, 6, 6), (4, 3, 3, 3), (4, 3, 3, 6)]


def test_layers_and_heads_can_be_chosen():
    model = pretrained("encoder_decoder")
    whole = look(model, options(target="so")).maps
    encoder, decoder, cross = look(model, options(target="so", layers=(3, 1), heads=(2, 0))).maps
    for chosen, all_of_it, layers in zip((encoder, decoder, cross), whole, [(1,), (3, 1), (3, 1)], strict=True):
        assert (chosen.layers, chosen.heads) == (layers, (2, 0))
        expected = all_of_it.weights_LNQK[list(layers)][:, [2, 0]]
        np.testing.assert_array_equal(chosen.weights_LNQK, expected)
    names = [one.name for one in look(model, options(target="so", layers=(2,))).maps]
    assert names == ["decoder self-attention", "cross-attention"]  # the encoder has 2 layers


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("encoder_decoder", {"layers": (0, 4)}, r"--layers is \[0, 4\], and this model has 4, counted from 0"),
        ("masked_lm", {"layers": (2,)}, r"--layers is \[2\], and this model has 2"),
        ("causal_lm", {"heads": (3,)}, r"--heads is \[3\], and this model has 3"),
        ("encoder_decoder", {"text": "x" * 512}, r"--text has 513 tokens, EOS included, and at most 512 can be shown"),
        ("encoder_decoder", {"target": "x" * 600}, r"--target has 601 tokens"),
        ("causal_lm", {"target": "x" * 600}, r"--target has 601 tokens"),
        ("masked_lm", {"target": "xy"}, r"--target 'xy' has 2 tokens, and --text hides 0 with <extra_id_0>"),
        ("sequence_classifier", {"target": "great"}, r"--target 'great' is no label of this model: use bad, fair, "),
        ("token_classifier", {"target": "odd"}, r"--target 'odd' has 1 labels, and --text has 2 words"),
        ("token_classifier", {"target": "odd great"}, r"--target 'great' is no label"),
    ],
)
def test_a_wrong_option_is_one_message_with_the_remedy(name, wrong, message):
    with pytest.raises(ValueError, match=message):
        look(pretrained(name), options(**wrong))


def test_a_page_that_would_be_too_large_is_refused_before_it_is_made(monkeypatch):
    # 6 x 6 in 2 layers of the encoder, 3 x 3 and 3 x 6 in 4 of the decoder, 3 heads.
    weights = 3 * (2 * 36 + 4 * (9 + 18))
    monkeypatch.setattr(attention, "MAX_WEIGHTS", weights)
    look(pretrained("encoder_decoder"), options(target="so"))
    monkeypatch.setattr(attention, "MAX_WEIGHTS", weights - 1)
    monkeypatch.setattr(attention, "_run", None)
    with pytest.raises(ValueError, match=f"make {weights} weights, .* with --layers or --heads"):
        look(pretrained("encoder_decoder"), options(target="so"))


def test_tokens_that_cannot_be_seen_have_names():
    names = token_names(TOKENIZER)
    assert names[:3] == ["<pad>", "</s>", "<unk>"]
    assert [names[byte + 3] for byte in b"a \n\t\x1b"] == ["a", "\u2581", "\u23ce", "\u21e5", "<0x1B>"]
    assert [names[i] for i in TOKENIZER.encode("\u00fc")] == ["<0xC3>", "<0xBC>"]
    assert [names[i] for i in TOKENIZER.encode("<extra_id_0><extra_id_9>")] == ["<extra_id_0>", "<extra_id_9>"]
    above = ByteAndSentinelTokenizer(7)
    assert token_names(above)[above.sentinel_id(5)] == "<extra_id_5>"
    assert len(token_names(above)) == above.vocab_size


@pytest.fixture
def loaded(monkeypatch):
    monkeypatch.setattr(attention, "load", lambda checkpoint: pretrained("encoder_decoder"))


def test_a_page_and_a_picture_are_written_and_the_table_printed(loaded, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    attention.run(options(target="so", output=str(tmp_path / "v1.5")))
    assert (tmp_path / "v1.5.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert (tmp_path / "v1.5.png").read_bytes().startswith(b"\x89PNG")
    out = capsys.readouterr().out
    assert "Attention of runs/x (encoder_decoder, step 1,234)" in out
    rows = [line.split() for line in out.splitlines()]
    (last,) = [row for row in rows if row[:3] == ["2", "o", "</s>"]]
    assert len(last) == 4 + 2 * 3  # three candidates
    assert out.endswith(f"wrote {tmp_path}/v1.5.html and {tmp_path}/v1.5.png\n")


def test_one_of_them_can_be_asked_for_alone(loaded, tmp_path, monkeypatch):
    monkeypatch.setattr(attention, "png", lambda contents: b"picture")
    monkeypatch.setattr(chart, "can_draw", lambda: True)
    attention.run(options(target="so", output=str(tmp_path / "a.html")))
    attention.run(options(target="so", output=str(tmp_path / "b.png")))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.png"]


def test_without_matplotlib_the_page_alone_is_written_and_said_to_be(loaded, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(attention, "can_draw", lambda: False)
    monkeypatch.setattr(chart, "can_draw", lambda: False)
    attention.run(options(target="so", output=str(tmp_path / "a")))
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]
    assert "a.png out: matplotlib is not installed (pip install 't5x-lite[plot]')" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"a\.png is a picture, and matplotlib is not installed"):
        attention.run(options(output=str(tmp_path / "a.png")))


def test_json_has_the_steps_and_the_files(loaded, tmp_path, capsys):
    attention.run(options(target="so", output=str(tmp_path / "a.html"), json=True))
    found = json.loads(capsys.readouterr().out)
    assert found["files"] == [str(tmp_path / "a.html")]
    assert (found["checkpoint"], found["step"], found["architecture"]) == ("runs/x", 1_234, "encoder_decoder")
    assert [(step["place"], step["reads"], step["token"]) for step in found["steps"]] == [
        (0, "<pad>", "s"),
        (1, "s", "o"),
        (2, "o", "</s>"),
    ]
    assert [sorted(candidate) for candidate in found["steps"][0]["candidates"]] == [["probability", "token"]] * 3
    assert found["maps"][2]["name"] == "cross-attention"
    assert found["maps"][2]["keys"] == ["a", "\u2581", "c", "a", "t", "</s>"]


def test_an_output_in_no_directory_is_named_before_anything_is_loaded(tmp_path):
    with pytest.raises(ValueError, match=r"--output .* is in a directory that does not exist"):
        attention.run(options(output=str(tmp_path / "no" / "a")))
    assert output_paths(str(tmp_path / "a.html")) == (tmp_path / "a.html", None)


def test_a_hidden_token_is_asked_for_where_none_is(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(attention, "load", lambda checkpoint: pretrained("masked_lm"))
    attention.run(options(output=str(tmp_path / "a.html")))
    assert "No token is predicted: hide one in --text with <extra_id_0>." in capsys.readouterr().out


def test_decoding_stops_at_the_end(monkeypatch):
    monkeypatch.setattr(attention, "greedy_ids", lambda *_, **__: np.array([[9, 1, 0, 0]]))
    steps = look(pretrained("encoder_decoder"), options()).steps
    assert [step.chosen.token for step in steps] == ["<0x06>", "</s>"]
