"""Tests t5x_lite/commands/chat/session.py"""

import dataclasses
import json
import re

import jax
import pytest

from t5x_lite.checkpoints.load import Pretrained
from t5x_lite.commands.chat import session
from t5x_lite.commands.chat.prompts import Prompts
from t5x_lite.commands.chat.session import Session
from t5x_lite.config.commands import InferConfig
from t5x_lite.config.generation import GenerationConfig
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.inference.engine import Request, answer_batch, fill_in
from t5x_lite.inference.few_shot import read_shots
from t5x_lite.model.architectures import Architecture
from t5x_lite.model.encoder import MaskedLM, SequenceClassifier
from t5x_lite.model.transformer import T5
from tests import tiny

CFG = dataclasses.replace(tiny.T5_1_1, vocab_size=384)
MODEL = Pretrained(tiny.drawn(T5, CFG, seed=2), ByteTokenizer(100), CFG, 7)
LABELS = ("bad", "good", "neither")
CLASSIFIER = Pretrained(
    tiny.drawn(SequenceClassifier, CFG, 3), ByteTokenizer(100), CFG, 1, Architecture("sequence_classifier", LABELS)
)
MASKED = Pretrained(tiny.drawn(MaskedLM, CFG), ByteTokenizer(100), CFG, 1, Architecture("masked_lm"))


class Script:
    """A terminal where lines are typed one after another; an exception among them is raised in place of a line."""

    def __init__(self, *lines, is_typed=True):
        self.lines, self.is_typed = list(lines), is_typed
        self.out, self.notes, self.told, self.is_closed = "", [], [], False

    def read(self):
        if not self.lines:
            raise EOFError
        line = self.lines.pop(0)
        if isinstance(line, type):
            raise line
        return line

    def write(self, text):
        self.out += text

    def note(self, text):
        self.notes.append(text)

    def error(self, text):
        self.told.append(text)

    def close(self):
        self.is_closed = True


def converse(*lines, pretrained=MODEL, fields=None, is_typed=True, **settings):
    """What a terminal shows of a session."""
    script = Script(*lines, is_typed=is_typed)
    options = InferConfig(checkpoint="run", **fields or {})
    config = GenerationConfig(**{"max_new_tokens": 6} | settings)
    prompts = Prompts(options, read_shots(options, seed=0), pretrained=pretrained, seed=0)
    Session(pretrained, prompts, config=config, terminal=script).run()
    assert script.is_closed
    script.told = [line for line in script.told if line != session.HOW_TO_LEAVE]
    return script


def answer(text, *, stream=0, **settings):
    config = GenerationConfig(**{"max_new_tokens": 6} | settings)
    scores = config.temperature > 0
    return answer_batch(MODEL, [Request(text, config, stream)], batch_size=1, scores=scores)[0].sequences


def test_each_text_is_answered_in_turn():
    seen = converse("one", "", "/quit", "never asked")
    assert seen.out == answer("one")[0].text + "\n"
    assert seen.lines == ["never asked"]
    shape = r"(\d+) tokens, the first after \d+\.\d\d s, then (\d+\.\d) tokens/s"
    number, rate = re.fullmatch(shape, seen.notes[0]).groups()
    assert int(number) == len(answer("one")[0].tokens) + answer("one")[0].ended
    assert float(rate) > 0


def test_tokens_are_written_as_they_come(monkeypatch):
    parts = []
    monkeypatch.setattr(Script, "write", lambda self, text: parts.append(text))
    converse("one", min_new_tokens=6)
    assert "".join(parts) == answer("one", min_new_tokens=6)[0].text + "\n"
    assert len(parts) > 3


def test_every_line_of_a_pipe_is_answered_even_empty_ones():
    texts = ["one", "", "two"]
    seen = converse(*texts, is_typed=False)
    assert seen.out == "".join(answer(text)[0].text + "\n" for text in texts)
    assert seen.told == []


def test_samples_are_new_each_time_and_reproducible_across_sessions():
    asked = {"temperature": 1.0, "seed": 3}
    drawn = [answer("one", stream=stream, **asked)[0].text + "\n" for stream in range(2)]
    assert drawn[0] != drawn[1]
    assert converse("one", "one", **asked).out == "".join(drawn)
    assert converse("one", "/seed 3", "one", "/reset", "one", **asked).out == drawn[0] * 3
    assert converse("/temperature 1", "/seed 3", "one", "one").out == "".join(drawn)


def test_settings_are_set_shown_and_reset():
    seen = converse(
        "/temperature 0.5",
        "/temperature",
        "/max_new_tokens 3",
        "/settings",
        "one",
        "/reset",
        "/settings",
        "one",
        "/max_new_tokens 64",
        "/settings",
    )
    different = "max_new_tokens 3  (default: 64)\ntemperature 0.5  (default: 0.0)\n"
    begun_with = "max_new_tokens 6  (default: 64)\n"
    drawn, greedy = answer("one", temperature=0.5, max_new_tokens=3)[0].text, answer("one")[0].text
    assert seen.out == (
        f"temperature 0.5\n{different}{drawn}\n{begun_with}{greedy}\nall settings are the model's defaults\n"
    )
    assert seen.notes[:2] == ["temperature 0.5", "max_new_tokens 3"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/temperature hot", "temperature is 'hot': use a number"),
        ("/top_p 0.5", "top_p 0.5 given without sampling (temperature is 0): add temperature 1, or leave out top_p"),
        ("/stop_tokens [5, 384]", "stop_tokens has [384], but the model has ids below 384: leave them out"),
        ("/forced_prefix 123456", "forced_prefix has 6 tokens and max_new_tokens is 6: use a larger one"),
        ("/shots few", "shots is 'few': use a whole number, 0 for none"),
        ("/shots 2", "shots is 2, but there is no file to draw from: name it with /examples FILE"),
        ("/prompt", "/prompt shows the prompt made from the last text: type a text first"),
    ],
)
def test_an_error_is_reported_and_changes_nothing(line, message):
    seen = converse(line, "/settings", "one")
    assert seen.told == [message]
    assert seen.out == f"max_new_tokens 6  (default: 64)\n{answer('one')[0].text}\n"


def test_settings_that_do_not_suit_the_model_are_refused_at_the_start():
    with pytest.raises(ValueError, match=r"banned_tokens has \[400\]"):
        converse("one", banned_tokens=(400,))


def test_several_sequences_are_numbered_with_their_scores():
    beams = answer("one", num_beams=3, num_return_sequences=2)
    seen = converse("/num_beams 3", "/num_return_sequences 2", "one")
    expected = "".join(f"{i}. {beam.score:.4f}  {beam.text}\n" for i, beam in enumerate(beams, start=1))
    assert seen.out == expected
    num_tokens = sum(len(beam.tokens) + beam.ended for beam in beams)
    assert seen.notes[-1].startswith(f"2 sequences, {num_tokens} tokens, ")
    drawn = answer("one", temperature=1.0, num_return_sequences=2)
    seen = converse("one", temperature=1.0, num_return_sequences=2)
    assert seen.out == "".join(f"{i}. {one.score:.4f}  {one.text}\n" for i, one in enumerate(drawn, start=1))


def test_a_single_returned_beam_is_shown_as_text():
    assert converse("one", num_beams=3).out == answer("one", num_beams=3)[0].text + "\n"


def test_blanks_are_shown_filled_in():
    prefix = "<extra_id_0>z"
    text = answer("a <extra_id_0> b", forced_prefix=prefix)[0].text
    seen = converse("a <extra_id_0> b", "no blank", forced_prefix=prefix)
    assert seen.notes[1] == "filled in: " + fill_in("a <extra_id_0> b", text)
    assert seen.notes[1].startswith("filled in: a z")
    assert len(seen.notes) == 3


def test_a_classifier_lists_its_labels_the_most_probable_first():
    (expected,) = answer_batch(CLASSIFIER, [Request("one", GenerationConfig())], batch_size=1)
    seen = converse("one", pretrained=CLASSIFIER)
    rows = [line.split() for line in seen.out.splitlines()]
    assert [row[1] for row in rows] == sorted(LABELS, key=lambda label: -expected.probabilities[label])
    assert {label: float(share) for share, label in rows} == pytest.approx(expected.probabilities, abs=1e-4)
    assert re.fullmatch(r"\d+\.\d\d s", seen.notes[0])


def test_a_masked_lm_answers_with_the_text():
    (expected,) = answer_batch(MASKED, [Request("a <extra_id_0> b", GenerationConfig())], batch_size=1)
    assert converse("a <extra_id_0> b", pretrained=MASKED).out == expected.sequences[0].text + "\n"


def test_examples_come_before_each_text(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(json.dumps({"inputs": f"q{n}", "targets": f"a{n}"}) for n in range(9)))
    seen = converse(f"/examples {path}", "/examples", "/shots", "/shots 2", "/shots", "one", "/prompt")
    lines = seen.out.splitlines()
    assert lines[:2] == [f"examples {path}", "no examples"]
    shown = [line.split(" -> ") for line in lines[2:4]]
    prompt = "".join(f"{q}\n{a}\n\n" for q, a in shown) + "one"
    assert seen.out.endswith(f"\n{answer(prompt)[0].text}\n{prompt}\n")
    assert "2 examples before each text; /shots shows them" in seen.notes


def test_a_template_is_applied_to_typed_text():
    seen = converse("/template", "/template Q: {inputs}", "/template", "one", "/prompt")
    assert seen.out == f"template None\ntemplate Q: {{inputs}}\n{answer('Q: one')[0].text}\nQ: one\n"


def test_help_and_slashes():
    seen = converse("/help", "//help", "/prompt", "/hlep")
    assert seen.out.startswith("Type a text to get an answer")
    assert seen.out.endswith(f"{answer('/help')[0].text}\n/help\n")
    assert [line.partition(":")[0] for line in seen.told] == ["there is no command /hlep"]


def test_an_interrupt_stops_only_the_answer(monkeypatch):
    stream_answer = session.stream_answer

    def interrupted(pretrained, request):
        for number, text in enumerate(stream_answer(pretrained, request)):
            if number == 2 and request.text == "one":
                raise KeyboardInterrupt
            yield text

    monkeypatch.setattr(session, "stream_answer", interrupted)
    seen = converse("one", "two", min_new_tokens=6)
    assert seen.told == ["\nstopped"]
    assert seen.out.endswith(answer("two", min_new_tokens=6)[0].text + "\n")
    assert len(seen.out) > len(answer("two", min_new_tokens=6)[0].text) + 1  # what came of the first
    with pytest.raises(KeyboardInterrupt):
        converse("one", is_typed=False)


def test_an_interrupt_at_the_prompt_says_how_to_leave():
    seen = converse(KeyboardInterrupt, "one")
    assert seen.told == [f"\n{session.HOW_TO_LEAVE}"]
    assert seen.out == answer("one")[0].text + "\n"
    with pytest.raises(KeyboardInterrupt):
        converse(KeyboardInterrupt, is_typed=False)


def test_running_out_of_memory_ends_an_answer_and_a_closed_pipe_ends_the_session(monkeypatch):
    def failing(error):
        def fail(pretrained, request):
            raise error
            yield

        monkeypatch.setattr(session, "stream_answer", fail)

    failing(jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\ndetails"))
    seen = converse("one", "/settings")
    assert seen.told == ["the model failed: RESOURCE_EXHAUSTED: Out of memory"]
    assert seen.out.startswith("max_new_tokens 6")
    failing(MemoryError())
    assert converse("one", "/settings").told == ["the model failed: out of memory"]
    failing(BrokenPipeError())
    with pytest.raises(BrokenPipeError):
        converse("one")


def test_the_model_is_described_before_the_first_line(monkeypatch, capsys):
    script = Script("/max_new_tokens", "/temperature")
    monkeypatch.setattr(session, "load", lambda checkpoint, step: MODEL)
    monkeypatch.setattr(session, "Terminal", lambda completions: script)
    session.run(InferConfig(checkpoint="runs/mine/", interactive=True), {"max_new_tokens": 5})
    num_parameters = sum(leaf.size for leaf in jax.tree.leaves(MODEL.model))
    assert capsys.readouterr().err == f"mine: step 7, encoder_decoder, {num_parameters:,} parameters\n"
    assert script.out == "max_new_tokens 5\ntemperature 0.0\n"


def test_invalid_options_are_reported_before_the_model_is_loaded(monkeypatch, tmp_path):
    monkeypatch.setattr(session, "load", lambda checkpoint, step: pytest.fail("a model is read"))
    with pytest.raises(ValueError, match="top_p is 2"):
        session.run(InferConfig(checkpoint="run"), {"top_p": 2.0, "temperature": 1.0})
    with pytest.raises(ValueError, match=r"nowhere\.jsonl"):
        session.run(InferConfig(checkpoint="run", shots=1, examples=str(tmp_path / "nowhere.jsonl")))
