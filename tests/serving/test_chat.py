"""Tests t5x_lite/serving/chat.py"""

# ruff: noqa: E402 - imports come after the skip

import json
import sys

import pytest

for needed in ("pydantic", "jinja2"):
    pytest.importorskip(needed, reason="the extra serve is not installed")

from t5x_lite.serving.chat import ChatForm, compile_template, find_template, parse_chat
from t5x_lite.serving.choices import Delta
from t5x_lite.serving.schema import CompletionUsage, RequestError, Served
from tests.serving.models import options, pretrained

USER = {"role": "user", "content": "ab"}
RIGHT = {"model": "mine", "messages": [USER]}
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{{ eos_token }}answer:"
SETTINGS = {"eos_token": {"content": "</s>"}}


def parsed(fields, template=None):
    render = compile_template(template, SETTINGS, "file") if template else None
    return parse_chat(fields, Served(pretrained(), "mine", options()), render)


def refused(fields, template=None) -> RequestError:
    with pytest.raises(RequestError) as error:
        parsed(fields, template)
    assert error.value.status == 400
    return error.value


def prompt(*messages, template=None) -> str:
    return parsed({"model": "mine", "messages": list(messages)}, template).request.prompt[0].text


def test_a_single_message_is_the_prompt_without_a_template():
    assert prompt(USER) == "ab"


def test_a_content_may_be_in_parts():
    assert prompt({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}) == "ab"


def test_a_template_makes_a_prompt_of_all_messages():
    messages = [{"role": "system", "content": "S"}, USER, {"role": "assistant", "content": "A", "name": "x"}, USER]
    assert prompt(*messages, template=TEMPLATE) == "system: S\nuser: ab\nassistant: A\nuser: ab\n</s>answer:"


def test_a_conversation_without_a_template_is_refused_with_what_to_do():
    for messages in ([USER, USER], [{"role": "system", "content": "S"}]):
        error = refused(RIGHT | {"messages": messages})
        assert "send one user message, or start the server with --chat_template" in error.message
        assert error.param == "messages"


def test_the_answer_may_be_as_long_as_the_server_allows_unless_a_limit_is_given():
    assert parsed(RIGHT).config.max_new_tokens == options().max_new_tokens
    for limit in ({"max_tokens": 5}, {"max_completion_tokens": 5}, {"max_tokens": 5, "max_completion_tokens": 5}):
        assert parsed(RIGHT | limit).config.max_new_tokens == 5
    assert refused(RIGHT | {"max_tokens": 5, "max_completion_tokens": 6}).param == "max_completion_tokens"


def test_settings_are_those_of_completions():
    given = {"temperature": 0.5, "top_p": 0.9, "seed": 3, "n": 2, "stop": "x", "stream": True, "user": "me"}
    completion = parsed(RIGHT | given)
    assert (completion.config.temperature, completion.config.top_p, completion.config.seed) == (0.5, 0.9, 3)
    assert (completion.request.n, completion.request.stop, completion.request.stream) == (2, ["x"], True)
    assert parsed(RIGHT | {"num_beams": 3}).config.num_beams == 3


def test_log_probabilities_are_asked_for_in_two_fields():
    assert parsed(RIGHT).request.logprobs is None
    assert parsed(RIGHT | {"logprobs": True}).request.logprobs == 0
    assert parsed(RIGHT | {"logprobs": True, "top_logprobs": 4}).request.logprobs == 4
    assert refused(RIGHT | {"top_logprobs": 4}).param == "top_logprobs"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tools": [{"type": "function"}]}, "tools is"),
        ({"tool_choice": "required"}, "tool_choice is"),
        ({"response_format": {"type": "json_object"}}, "response_format is"),
        ({"audio": {}}, "audio is"),
        ({"unheard_of": 1}, '"unheard_of" is not a field of this request'),
        ({"echo": True}, '"echo" is not a field of this request'),
        ({"messages": []}, "messages is []"),
        ({"messages": "ab"}, "messages is"),
        ({"messages": [{"role": "tool", "content": "a"}]}, 'messages[0].role is "tool": use system, developer, user'),
        ({"messages": [{"content": "a"}]}, "messages[0].role is null"),
        ({"messages": [USER, {"role": "user"}]}, "messages[1].content has null: give a text"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 'content has "image_url": give a text'),
        ({"messages": [{**USER, "tool_calls": [1]}]}, 'messages[0] has "tool_calls": use role and content'),
        ({"messages": [{"role": "user", "content": "a" * 3000}]}, "reads at most 2048"),
        ({"top_logprobs": 6, "logprobs": True}, "top_logprobs is 6"),
        ({"logprobs": True, "num_beams": 2}, "logprobs is given with num_beams"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_done_is_refused_by_name(wrong, message):
    error = refused(RIGHT | wrong)
    assert message in error.message
    assert error.param != "prompt"


def test_fields_that_ask_for_nothing_are_accepted():
    nothing = {"tools": [], "tool_choice": "none", "response_format": {"type": "text"}, "audio": None, "store": False}
    assert parsed(RIGHT | nothing).request.prompt[0].text == "ab"


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('two users in a row') }}",
        "{{ messages[5].content }}",
        "{{ messages.append(1) }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% for i in range(10**9) %}{% endfor %}",
    ],
)
def test_a_template_that_rejects_or_breaks_out_is_an_error_of_the_request(template):
    error = refused(RIGHT, template)
    assert "the chat template does not accept these messages" in error.message
    assert error.param == "messages"


def test_a_template_is_that_of_the_option_or_the_models_directory(tmp_path):
    def render(**fields):
        found = find_template(options(checkpoint=str(tmp_path), **fields), pytest.fail)
        return found and found([USER])

    assert render() is None
    named = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "{{ eos_token }}D"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": named, "eos_token": "</s>"}))
    assert render() == "</s>D"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages[0].content }}!"}))
    assert render() == "ab!"
    (tmp_path / "chat_template.jinja").write_text("J")
    assert render() == "J"
    (tmp_path / "mine.jinja").write_text("M")
    assert render(chat_template=str(tmp_path / "mine.jinja")) == "M"


def test_an_options_template_that_cannot_be_used_is_an_error_and_a_models_a_warning(tmp_path):
    warnings = []
    (tmp_path / "chat_template.jinja").write_text("{% for %}")
    assert find_template(options(checkpoint=str(tmp_path)), warnings.append) is None
    assert "has a chat template that is not Jinja" in warnings[0]
    with pytest.raises(ValueError, match="not Jinja"):
        find_template(options(chat_template=str(tmp_path / "chat_template.jinja")), pytest.fail)
    with pytest.raises(ValueError, match=r"absent\.jinja cannot be read"):
        find_template(options(chat_template=str(tmp_path / "absent.jinja")), pytest.fail)


def test_a_damaged_settings_file_has_no_template(tmp_path):
    for damaged in ("[", "[" * 100_000, "[1]", '{"chat_template": 3}', '{"chat_template": [3]}'):
        (tmp_path / "tokenizer_config.json").write_text(damaged)
        assert find_template(options(checkpoint=str(tmp_path)), pytest.fail) is None


def test_a_stream_begins_with_the_role_and_ends_with_the_reason():
    form = ChatForm("mine")
    events = [form.event(0, Delta(*parts)) for parts in (("a", [], [], [], None), ("b", [], [], [], None))]
    events.append(form.event(0, Delta("", [], [], [], "stop")))
    assert [event["choices"][0]["delta"] for event in events] == [
        {"role": "assistant", "content": "a"},
        {"content": "b"},
        {},
    ]
    assert [event["choices"][0]["finish_reason"] for event in events] == [None, None, "stop"]
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    last = form.last_event(CompletionUsage(prompt_tokens=1, completion_tokens=2, total_tokens=3))
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 3)


def test_log_probabilities_have_openais_form():
    delta = Delta("é", ["é"], [-0.5], [0], "stop", [{"é": -0.5, "a": -1.0}])
    [choice] = ChatForm("mine").whole([delta], CompletionUsage(prompt_tokens=1, completion_tokens=1, total_tokens=2))[
        "choices"
    ]
    assert choice["message"] == {"role": "assistant", "content": "é", "refusal": None}
    [token] = choice["logprobs"]["content"]
    assert (token["token"], token["logprob"], token["bytes"]) == ("é", -0.5, [195, 169])
    assert [(top["token"], top["logprob"]) for top in token["top_logprobs"]] == [("é", -0.5), ("a", -1.0)]


def test_a_template_that_loops_without_end_is_stopped_and_the_next_one_is_not():
    loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    assert "does not accept these messages (it takes too many steps)" in refused(RIGHT, loops).message
    assert prompt(*[USER] * 5, template=TEMPLATE) == "user: ab\n" * 5 + "</s>answer:"
    assert sys.gettrace() is None or "coverage" in str(sys.gettrace())
