"""Tests t5x_lite/serving/schema.py"""

import base64
import dataclasses

import numpy as np
import pytest

pytest.importorskip("pydantic", reason="the extra serve is not installed")

from t5x_lite.config.architectures import Architecture
from t5x_lite.config.generation import GenerationConfig
from t5x_lite.model.sentence_head import Dense, SentenceHead
from t5x_lite.serving.choices import Delta
from t5x_lite.serving.schema import (
    ChoiceReply,
    CompletionReply,
    EmbeddingReply,
    ModelReply,
    RequestError,
    Served,
    parse_body,
    parse_completion,
    parse_embedding,
)
from tests.serving.models import CFG, TOKENIZER, options, pretrained

RIGHT = {"model": "mine", "prompt": "ab"}


def served(name="encoder_decoder", generation=None, **fields):
    model = pretrained(name)
    if generation is not None:
        model = model._replace(generation=generation)
    return Served(model, "mine", options(**{"max_input_tokens": 9, "max_new_tokens": 40, "max_queue": 3} | fields))


def completion(**fields):
    return parse_completion(RIGHT | fields, served())


def refused(parse, *args) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse(*args)
    return caught.value


@pytest.mark.parametrize("body", [b"", b"{bad", b"\xff{}", b'{"a": NaN}', b"[" * 100_000, b"[1]", b'"text"', b"null"])
def test_a_body_that_is_no_json_object_is_refused(body):
    error = refused(parse_body, body)
    assert error.status == 400
    assert "send one JSON object" in error.message


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (rb'{"prompt": "\ud800"}', "prompt"),
        (rb'{"prompt": ["a", "\udfff b"]}', "prompt"),
        (rb'{"user": {"a": ["\uD834"]}}', "user"),
        (rb'{"\udc00": 1}', None),
        (rb'{"a": {"\udc00": 1}}', "a"),
    ],
)
def test_half_a_surrogate_pair_is_no_text_anywhere(body, param):
    error = refused(parse_body, body)
    assert (error.status, error.param) == (400, param)
    assert "has an unpaired surrogate: send valid Unicode" in error.message
    str(error.body).encode()


def test_a_whole_surrogate_pair_is_a_character():
    assert parse_body(rb'{"a": "\ud83d\ude00"}') == {"a": "\U0001f600"}


def test_a_json_object_is_read():
    assert parse_body('{"a": ["ü", 1.5, null]}'.encode()) == {"a": ["ü", 1.5, None]}


def test_defaults_are_openais():
    asked = completion()
    assert (asked.config.max_new_tokens, asked.config.temperature, asked.config.top_p) == (16, 1.0, 1.0)
    request = asked.request
    assert (request.stream, request.stream_options.include_usage, request.echo) == (False,) * 3
    assert (request.logprobs, request.stop) == (None, [])
    assert completion().config.seed != completion().config.seed
    null = dict.fromkeys(("max_tokens", "temperature", "n", "stop", "stream", "logprobs", "seed", "user"))
    assert dataclasses.replace(completion(**null).config, seed=0) == dataclasses.replace(asked.config, seed=0)


def test_the_default_length_is_at_most_the_servers_limit():
    assert parse_completion(RIGHT, served(max_new_tokens=5)).config.max_new_tokens == 5


def test_every_setting_reaches_the_decoder():
    asked = completion(
        max_tokens=30, min_tokens=2, temperature=0.5, top_p=0.9, top_k=7, min_p=0.1, n=2, seed=-1,
        repetition_penalty=1.5, no_repeat_ngram_size=3, stream=True, stream_options={"include_usage": True},
        stop=["x", "yz"], logprobs=0,
    )  # fmt: skip
    assert asked.config == GenerationConfig(
        max_new_tokens=30, min_new_tokens=2, temperature=0.5, top_p=0.9, top_k=7, min_p=0.1, num_return_sequences=2,
        seed=2**32 - 1, repetition_penalty=1.5, no_repeat_ngram_size=3,
    )  # fmt: skip
    request = asked.request
    assert (request.stream, request.stream_options.include_usage) == (True, True)
    assert (request.stop, request.logprobs) == (["x", "yz"], 0)
    assert completion(stop="x").request.stop == ["x"]


def test_beam_search_does_not_sample_by_default():
    asked = completion(num_beams=3, n=2, length_penalty=1.5)
    assert (asked.config.num_beams, asked.config.temperature, asked.config.length_penalty) == (3, 0.0, 1.5)
    assert "num_beams is 3 and temperature is 1" in refused(completion_of, {"num_beams": 3, "temperature": 1}).message


def completion_of(fields):
    return completion(**fields)


def test_greedy_decoding_ignores_top_p():
    config = completion(temperature=0, top_p=0.9, top_k=5, min_p=0.1).config
    assert (config.temperature, config.top_p, config.top_k, config.min_p) == (0, 1, 0, 0)


def test_a_top_k_above_the_vocabulary_is_all_of_it():
    assert completion(top_k=10**30).config.top_k == TOKENIZER.vocab_size


def test_the_models_own_settings_are_used_for_fields_left_out():
    own = GenerationConfig(
        max_new_tokens=3, num_beams=4, repetition_penalty=1.25, no_repeat_ngram_size=2, banned_tokens=(5,),
        stop_tokens=(9,),
    )  # fmt: skip
    config = parse_completion(RIGHT, served(generation=own)).config
    assert (config.banned_tokens, config.stop_tokens) == ((5,), (9,))
    assert (config.repetition_penalty, config.no_repeat_ngram_size) == (1.25, 2)
    assert (config.max_new_tokens, config.num_beams, config.temperature) == (16, 1, 1.0)
    assert parse_completion(RIGHT | {"repetition_penalty": 2}, served(generation=own)).config.repetition_penalty == 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_tokens": 0}, "max_tokens is 0: input should be greater than or equal to 1"),
        ({"max_tokens": -5}, "max_tokens is -5: input should be"),
        ({"max_tokens": 41}, "max_tokens is 41: input should be less than or equal to 40"),
        ({"max_tokens": 2.0}, "max_tokens is 2.0: input should be a valid integer"),
        ({"max_tokens": True}, "max_tokens is true: input should be a valid integer"),
        ({"max_tokens": "9"}, 'max_tokens is "9": input should be a valid integer'),
        ({"min_tokens": 17}, "min_tokens is 17: input should be less than or equal to 16"),
        ({"temperature": -0.1}, "temperature is -0.1: input should be greater than or equal to 0"),
        ({"temperature": 2.1}, "temperature is 2.1: input should be less than or equal to 2"),
        ({"temperature": "hot"}, 'temperature is "hot": input should be a valid number'),
        ({"temperature": True}, "temperature is true: input should be a valid number"),
        ({"temperature": float("inf")}, "temperature is Infinity: input should be a finite number"),
        ({"temperature": 10**400}, "temperature is 1000"),
        ({"top_p": 1.5}, "top_p is 1.5: input should be less than or equal to 1"),
        ({"min_p": 1}, "min_p is 1: input should be less than or equal to 0.999"),
        ({"top_k": -1}, "top_k is -1: input should be greater than or equal to 0"),
        ({"n": 0}, "n is 0: input should be greater than or equal to 1"),
        ({"n": 5}, "n is 5: input should be less than or equal to 4"),
        ({"n": 2, "temperature": 0}, "n is 2, but temperature 0 gives only one completion"),
        ({"n": 3, "num_beams": 2}, "n is 3: input should be less than or equal to 2"),
        ({"num_beams": 5}, "num_beams is 5: input should be less than or equal to 4"),
        ({"no_repeat_ngram_size": 17}, "no_repeat_ngram_size is 17: input should be less"),
        ({"repetition_penalty": 0}, "repetition_penalty is 0: input should be greater than or equal to 0.01"),
        ({"length_penalty": 101}, "length_penalty is 101: input should be less"),
        ({"seed": 2**63}, "seed is 9223372036854775808: input should be less than 9223372036854775808"),
        ({"logprobs": 6}, "logprobs is 6: input should be less than or equal to 5"),
        ({"logprobs": True}, "logprobs is true: input should be a valid integer"),
        ({"logprobs": 1, "echo": True}, "logprobs is given with echo"),
        ({"logprobs": 1, "num_beams": 2}, "logprobs is given with num_beams above 1"),
        ({"stream": 1}, "stream is 1: input should be a valid boolean"),
        ({"echo": "yes"}, 'echo is "yes": input should be a valid boolean'),
        ({"stream_options": {}}, "stream_options is given without stream"),
        ({"stream_options": {"x": 1}, "stream": True}, 'stream_options is {"x": 1}: extra inputs are not permitted'),
        ({"stop": ""}, 'stop is "": string should have at least 1 character'),
        ({"stop": [1]}, "stop is [1]: input should be a valid string"),
        ({"stop": list("abcde")}, 'stop is ["a", "b", "c", "d", "e"]: list should have at most 4 items'),
        ({"best_of": 2}, "best_of is 2: use n, 1, or leave it out"),
        ({"best_of": 3, "n": 2}, "best_of is 3: use n, 2, or leave it out"),
        ({"best_of": 0}, "best_of is 0: input should be greater than or equal to 1"),
        ({"suffix": "x"}, 'suffix is "x": input should be'),
        ({"presence_penalty": 0.5}, "presence_penalty is 0.5: input should be 0"),
        ({"frequency_penalty": 1}, "frequency_penalty is 1: input should be 0"),
        ({"logit_bias": {"5": 1}}, 'logit_bias is {"5": 1}: dictionary should have at most 0 items'),
        ({"user": 5}, "user is 5: input should be a valid string"),
        ({"colour": 1}, '"colour" is not a field of this request: use best_of, echo'),
        ({"model": None}, "model is missing: this field is required"),
        ({"model": 5}, "model is 5: input should be a valid string"),
        ({"prompt": None}, "prompt is missing: this field is required"),
        ({"prompt": []}, "prompt is []: give a string"),
        ({"prompt": 5}, "prompt is 5: give a string"),
        ({"prompt": ["a", 5]}, "prompt has the item 5: give strings"),
        ({"prompt": ["a", []]}, "prompt has the item []: give strings"),
        ({"prompt": ["a"] * 4}, "prompt has 4 items: give at most 3"),
        ({"prompt": "a" * 9}, "prompt has 10 tokens, but this server reads at most 9: shorten it"),
        ({"prompt": [5, 0]}, "prompt has the id 0: use ids from 1 to 258"),
        ({"prompt": [[5, 10**30]]}, "prompt has the id 1000000000000000000000000000000: use"),
    ],
)  # fmt: skip
def test_an_invalid_field_is_rejected_with_its_value_and_the_remedy(fields, message):
    error = refused(completion_of, fields)
    assert error.status == 400
    assert error.message.startswith(message)
    named = error.param
    assert named in RIGHT | fields


def test_values_without_effect_are_accepted():
    nothing = {"presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}, "best_of": 1, "suffix": None}
    assert completion(**nothing, user="me").request.prompt == completion().request.prompt


def test_another_model_is_not_found():
    error = refused(completion_of, {"model": "other"})
    assert (error.status, error.param, error.code) == (404, "model", "model_not_found")


@pytest.mark.parametrize("given", ["ab", ["ab"], [100, 101], [[100, 101]], [100, 101, 1]])
def test_a_prompt_is_a_text_or_ids_alone_or_in_a_list(given):
    [prompt] = completion(prompt=given).request.prompt
    assert (prompt.text, prompt.ids, prompt.num_tokens) == ("ab", [100, 101, 1], 3)


def test_prompts_stay_in_order():
    assert [prompt.text for prompt in completion(prompt=["a", "", "c"]).request.prompt] == ["a", "", "c"]


def test_a_prompt_may_be_as_long_as_the_limit():
    assert completion(prompt="a" * 8).request.prompt[0].num_tokens == 9
    decoder = parse_completion(RIGHT | {"prompt": "a" * 9}, served("causal_lm"))
    assert decoder.request.prompt[0].num_tokens == 9


def test_the_eos_of_a_prompt_counts_if_a_decoder_reads_it():
    for keeps_eos in (True, False):
        model, architecture = served("causal_lm"), Architecture("prefix_lm", keeps_eos=keeps_eos)
        model = model._replace(pretrained=model.pretrained._replace(architecture=architecture))
        assert parse_completion(RIGHT | {"prompt": "a" * 8}, model).request.prompt[0].num_tokens == 8 + keeps_eos


def test_an_encoder_only_model_rejects_completions():
    error = refused(parse_completion, RIGHT, served("masked_lm"))
    assert (error.status, error.message) == (
        400,
        "the model is a masked_lm, which generates no text: use /v1/embeddings",
    )
    error = refused(parse_completion, {"model": "mine", "prompt": "a"}, served("encoder"))
    assert error.message == "the model is an encoder, which generates no text: use /v1/embeddings"


def test_embeddings_are_asked_for():
    asked = parse_embedding({"model": "mine", "input": ["a", "b"], "encoding_format": "base64"}, served())
    assert ([prompt.text for prompt in asked.input], asked.encoding_format) == (["a", "b"], "base64")
    for fields in ({}, {"encoding_format": "float", "dimensions": CFG.emb_dim - 1, "user": "me"}):
        assert parse_embedding({"model": "mine", "input": "a"} | fields, served("masked_lm")).encoding_format == "float"


@pytest.mark.parametrize(
    ("fields", "name", "message"),
    [
        ({}, "causal_lm", "the model is a causal_lm, which has no encoder: use /v1/completions"),
        ({"encoding_format": "hex"}, "encoder_decoder", "encoding_format is \"hex\": input should be 'float' or"),
        ({"dimensions": 21}, "encoder_decoder", "dimensions is 21, but the model has 20: use at most that"),
        ({"dimensions": 0}, "masked_lm", "dimensions is 0: input should be greater than or equal to 1"),
        ({"dimensions": 2.5}, "encoder", "dimensions is 2.5: input should be a valid integer"),
        ({"prompt": "a"}, "encoder_decoder", '"prompt" is not a field of this request: use dimensions'),
        ({"input": None}, "encoder_decoder", "input is missing"),
        ({"input": ["a"] * 2049}, "encoder", "input has 2049 items: give at most 2048 at once"),
    ],
)
def test_invalid_embeddings_requests_are_rejected(fields, name, message):
    error = refused(parse_embedding, {"model": "mine", "input": "a"} | fields, served(name))
    assert error.status == 400
    assert error.message.startswith(message)


def test_a_sentence_encoder_has_its_own_limit_and_prompt():
    context = served("encoder")
    head = SentenceHead(max_tokens=6, prompt="q: ", dense=(Dense(kernel_DE=np.ones((CFG.emb_dim, 3))),))
    context = context._replace(pretrained=context.pretrained._replace(head=head))
    [prompt] = parse_embedding({"model": "mine", "input": "ab"}, context).input
    assert prompt.ids == [*TOKENIZER.encode("q: ab"), 1]
    for fields, message in (
        ({"input": "abc"}, "input has 7 tokens, but this model reads at most 6: shorten it"),
        ({"input": "a", "dimensions": 4}, "dimensions is 4, but the model has 3: use at most that"),
    ):
        assert refused(parse_embedding, {"model": "mine"} | fields, context).message == message


def test_a_reply_joins_the_parts_of_a_choice():
    first = [Delta("a", ["a"], [-1.0], [0], None), Delta("bc", ["b", "c"], [-2.0, -3.0], [1, 2], "length")]
    log_probs = {
        "tokens": ["a", "b", "c"],
        "token_logprobs": [-1.0, -2.0, -3.0],
        "top_logprobs": None,
        "text_offset": [0, 1, 2],
    }
    assert [
        ChoiceReply.of(Delta.join(first), 0).model_dump(),
        ChoiceReply.of(Delta.join([Delta("", [], [], [], "stop")]), 1).model_dump(),
    ] == [
        {"text": "abc", "index": 0, "logprobs": log_probs, "finish_reason": "length"},
        {"text": "", "index": 1, "logprobs": None, "finish_reason": "stop"},
    ]


def test_best_of_n_is_what_n_gives():
    for fields in ({"n": 2, "best_of": 2}, {"n": 3, "best_of": 3}, {"best_of": 1}, {"n": 2, "best_of": 1}, {"n": 2}):
        assert completion(**fields).config.num_return_sequences == fields.get("n", 1)


def test_a_reply_has_the_most_probable_tokens_of_each_token():
    parts = [Delta("a", ["a"], [-1.0], [0], None, [{"a": -1.0}]), Delta("b", ["b"], [-2.0], [1], "stop", [{"c": -0.5}])]
    log_probs = ChoiceReply.of(Delta.join(parts), 0).logprobs
    assert log_probs is not None
    assert log_probs.top_logprobs == [{"a": -1.0}, {"c": -0.5}]


def test_a_reply_has_openais_fields_and_an_id_of_its_own():
    reply = CompletionReply(model="mine")
    assert list(reply.model_dump()) == ["id", "object", "created", "model", "choices", "usage"]
    assert (reply.object, reply.model) == ("text_completion", "mine")
    assert reply.id.startswith("cmpl-")
    assert reply.id == reply.model_copy(update={"choices": []}).id != CompletionReply(model="mine").id


def test_embeddings_are_lists_or_little_endian_float32_in_base64():
    values_D = np.asarray([0.5, -1.25], np.float32)
    row = EmbeddingReply.of(values_D, 3, "float")
    assert row.model_dump() == {"object": "embedding", "index": 3, "embedding": [0.5, -1.25]}
    coded = EmbeddingReply.of(values_D, 0, "base64").embedding
    assert np.frombuffer(base64.b64decode(coded), "<f4").tolist() == [0.5, -1.25]


def test_a_model_has_a_name_and_a_time():
    expected = {"id": "mine", "object": "model", "created": 5, "owned_by": "t5x_lite"}
    assert ModelReply(id="mine", created=5).model_dump() == expected


def test_an_error_has_openais_form():
    error = RequestError(400, "n is 0: use a number above 0", "n")
    detail = {"message": "n is 0: use a number above 0", "type": "invalid_request_error", "param": "n", "code": None}
    assert error.body == {"error": detail}
    assert error.headers == {}


@pytest.mark.parametrize(
    ("status", "kind", "code", "headers"),
    [
        (401, "authentication_error", "invalid_api_key", {"WWW-Authenticate": "Bearer"}),
        (429, "rate_limit_error", "rate_limit_exceeded", {"Retry-After": "1"}),
        (503, "server_error", "unavailable", {"Retry-After": "5"}),
        (504, "server_error", "timeout", {}),
        (413, "invalid_request_error", None, {}),
    ],
)
def test_each_status_has_its_type_code_and_headers(status, kind, code, headers):
    error = RequestError(status, "no")
    assert (error.body["error"]["type"], error.body["error"]["code"]) == (kind, code)
    assert error.headers == headers


def test_a_code_may_be_given():
    assert RequestError(404, "no", "model", code="model_not_found").body["error"]["code"] == "model_not_found"
