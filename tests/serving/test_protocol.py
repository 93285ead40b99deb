"""Tests t5x_lite/serving/protocol.py"""

import dataclasses

import pytest

from t5x_lite.config import GenerationConfig
from t5x_lite.serving.protocol import Served, parse_body, parse_completion, parse_embedding
from t5x_lite.serving.refusals import Refused
from tests.serving.models import CFG, TOKENIZER, options, pretrained

RIGHT = {"model": "mine", "prompt": "ab"}


def served(name="encoder_decoder", generation=None, **fields):
    model = pretrained(name)
    if generation is not None:
        model = model._replace(generation=generation)
    return Served(model, "mine", options(**{"max_input_tokens": 9, "max_new_tokens": 40, "max_queue": 3} | fields))


def completion(**fields):
    return parse_completion(RIGHT | fields, served())


def refused(parse, *args) -> Refused:
    with pytest.raises(Refused) as caught:
        parse(*args)
    return caught.value


@pytest.mark.parametrize("body", [b"", b"{bad", b"\xff{}", b'{"a": NaN}', b"[" * 100_000, b"[1]", b'"text"', b"null"])
def test_a_body_that_is_no_json_object_is_refused(body):
    error = refused(parse_body, body)
    assert error.status == 400
    assert "send one JSON object" in error.message


def test_a_json_object_is_read():
    assert parse_body('{"a": ["ü", 1.5, null]}'.encode()) == {"a": ["ü", 1.5, None]}


def test_what_is_not_said_is_openais_default():
    asked = completion()
    assert (asked.config.max_new_tokens, asked.config.temperature, asked.config.top_p) == (16, 1.0, 1.0)
    assert (asked.stream, asked.include_usage, asked.echo, asked.log_probs, asked.stops) == (False,) * 4 + ((),)
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
    assert (asked.stream, asked.include_usage, asked.stops, asked.log_probs) == (True, True, ("x", "yz"), True)
    assert completion(stop="x").stops == ("x",)


def test_a_beam_search_draws_nothing_unless_it_is_told_to():
    asked = completion(num_beams=3, n=2, length_penalty=1.5)
    assert (asked.config.num_beams, asked.config.temperature, asked.config.length_penalty) == (3, 0.0, 1.5)
    assert "num_beams is 3 and temperature 1" in refused(completion_of, {"num_beams": 3, "temperature": 1}).message


def completion_of(fields):
    return completion(**fields)


def test_greedy_choice_has_no_use_for_top_p():
    config = completion(temperature=0, top_p=0.9, top_k=5, min_p=0.1).config
    assert (config.temperature, config.top_p, config.top_k, config.min_p) == (0, 1, 0, 0)


def test_a_top_k_above_the_vocabulary_is_all_of_it():
    assert completion(top_k=10**30).config.top_k == TOKENIZER.vocab_size


def test_the_models_own_settings_hold_where_no_field_is_given():
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
        ({"max_tokens": 0}, "max_tokens is 0: use a whole number from 1 to 40"),
        ({"max_tokens": -5}, "max_tokens is -5: use"),
        ({"max_tokens": 41}, "max_tokens is 41: use"),
        ({"max_tokens": 2.0}, "max_tokens is 2.0: use"),
        ({"max_tokens": True}, "max_tokens is true: use"),
        ({"max_tokens": "9"}, 'max_tokens is "9": use'),
        ({"min_tokens": 17}, "min_tokens is 17: use a whole number from 0 to 16"),
        ({"temperature": -0.1}, "temperature is -0.1: use a number from 0 to 2"),
        ({"temperature": 2.1}, "temperature is 2.1: use"),
        ({"temperature": "hot"}, 'temperature is "hot": use'),
        ({"temperature": True}, "temperature is true: use"),
        ({"temperature": float("inf")}, "temperature is Infinity: use"),
        ({"top_p": 1.5}, "top_p is 1.5: use a number from 0 to 1"),
        ({"min_p": 1}, "min_p is 1: use"),
        ({"top_k": -1}, "top_k is -1: use a whole number of at least 0"),
        ({"n": 0}, "n is 0: use a whole number from 1 to 4"),
        ({"n": 5}, "n is 5: use a whole number from 1 to 4"),
        ({"n": 2, "temperature": 0}, "n is 2 and temperature 0, which has one answer"),
        ({"n": 3, "num_beams": 2}, "n is 3: use a whole number from 1 to 2"),
        ({"num_beams": 5}, "num_beams is 5: use a whole number from 1 to 4"),
        ({"no_repeat_ngram_size": 17}, "no_repeat_ngram_size is 17: use"),
        ({"repetition_penalty": 0}, "repetition_penalty is 0: use a number from 0.01 to 100"),
        ({"length_penalty": 101}, "length_penalty is 101: use"),
        ({"seed": 2**63}, "seed is 9223372036854775808: use"),
        ({"logprobs": 6}, "logprobs is 6: use a whole number from 0 to 5"),
        ({"logprobs": True}, "logprobs is true: use"),
        ({"logprobs": 1, "echo": True}, "logprobs is given with echo"),
        ({"logprobs": 1, "num_beams": 2}, "logprobs is given with num_beams above 1"),
        ({"stream": 1}, "stream is 1: use true or false"),
        ({"echo": "yes"}, 'echo is "yes": use true or false'),
        ({"stream_options": {}}, "stream_options is given and stream is not true"),
        ({"stream_options": {"x": 1}, "stream": True}, 'stream_options is {"x": 1}: give an object'),
        ({"stop": ""}, 'stop is "": give a text that is not empty'),
        ({"stop": [1]}, "stop is [1]: give"),
        ({"stop": list("abcde")}, "stop has 5 texts: give at most 4"),
        ({"best_of": 2}, "best_of is 2, which is not supported: leave it out"),
        ({"suffix": "x"}, 'suffix is "x", which is not supported'),
        ({"presence_penalty": 0.5}, "presence_penalty is 0.5, which"),
        ({"frequency_penalty": 1}, "frequency_penalty is 1, which"),
        ({"logit_bias": {"5": 1}}, 'logit_bias is {"5": 1}, which'),
        ({"user": 5}, "user is 5: use a text"),
        ({"colour": 1}, '"colour" is no field of this request: use best_of, echo'),
        ({"model": None}, "model is missing: use 'mine'"),
        ({"model": 5}, "model is 5: use 'mine'"),
        ({"prompt": None}, "prompt is missing: give a text"),
        ({"prompt": []}, "prompt is []: give a text"),
        ({"prompt": 5}, "prompt is 5: give a text"),
        ({"prompt": ["a", 5]}, "prompt has 5: give texts"),
        ({"prompt": ["a", []]}, "prompt has []: give texts"),
        ({"prompt": ["a"] * 4}, "prompt has 4 texts: give at most 3"),
        ({"prompt": "a" * 9}, "prompt has 10 tokens, and this server reads at most 9: shorten it"),
        ({"prompt": "\ud800"}, "prompt has half a surrogate pair"),
        ({"prompt": [5, 0]}, "prompt has the id 0: use ids from 1 to 258"),
        ({"prompt": [[5, 10**30]]}, "prompt has the id 1000000000000000000000000000000: use"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_the_field_the_value_and_the_remedy(fields, message):
    error = refused(completion_of, fields)
    assert error.status == 400
    assert error.message.startswith(message)
    named = error.param
    assert named in RIGHT | fields


def test_what_changes_nothing_is_taken():
    nothing = {"presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}, "best_of": 1, "suffix": None}
    assert completion(**nothing, user="me").prompts == completion().prompts


def test_another_model_is_not_found():
    error = refused(completion_of, {"model": "other"})
    assert (error.status, error.param, error.code) == (404, "model", "model_not_found")


@pytest.mark.parametrize("given", ["ab", ["ab"], [100, 101], [[100, 101]], [100, 101, 1]])
def test_a_prompt_is_a_text_or_ids_alone_or_in_a_list(given):
    [prompt] = completion(prompt=given).prompts
    assert (prompt.text, prompt.ids, prompt.num_tokens) == ("ab", [100, 101, 1], 3)


def test_prompts_stay_in_order():
    assert [prompt.text for prompt in completion(prompt=["a", "", "c"]).prompts] == ["a", "", "c"]


def test_a_prompt_may_be_as_long_as_the_limit():
    assert completion(prompt="a" * 8).prompts[0].num_tokens == 9
    decoder = parse_completion(RIGHT | {"prompt": "a" * 9}, served("causal_lm"))
    assert decoder.prompts[0].num_tokens == 9


def test_an_encoder_alone_writes_no_text():
    error = refused(parse_completion, RIGHT, served("masked_lm"))
    assert (error.status, error.message) == (
        400,
        "the model is a masked_lm, which writes no text: ask /v1/embeddings",
    )


def test_embeddings_are_asked_for():
    asked = parse_embedding({"model": "mine", "input": ["a", "b"], "encoding_format": "base64"}, served())
    assert ([prompt.text for prompt in asked.prompts], asked.base64) == (["a", "b"], True)
    for fields in ({}, {"encoding_format": "float", "dimensions": CFG.emb_dim, "user": "me"}):
        assert parse_embedding({"model": "mine", "input": "a"} | fields, served("masked_lm")).base64 is False


@pytest.mark.parametrize(
    ("fields", "name", "message"),
    [
        ({}, "causal_lm", "the model is a causal_lm, which has no encoder: ask /v1/completions"),
        ({"encoding_format": "hex"}, "encoder_decoder", 'encoding_format is "hex": use float or base64'),
        ({"dimensions": 3}, "encoder_decoder", "dimensions is 3, and the model has 20: leave it out"),
        ({"prompt": "a"}, "encoder_decoder", '"prompt" is no field of this request: use dimensions'),
        ({"input": None}, "encoder_decoder", "input is missing"),
    ],
)
def test_embeddings_that_cannot_be_had_are_refused(fields, name, message):
    error = refused(parse_embedding, {"model": "mine", "input": "a"} | fields, served(name))
    assert error.status == 400
    assert error.message.startswith(message)
