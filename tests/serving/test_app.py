"""Tests t5x_lite/serving/app.py: over ASGI, without a socket."""

# ruff: noqa: E402 - imports come after the skip

import asyncio
import base64
import contextlib
import json
import threading

import jax
import numpy as np
import pytest

httpx = pytest.importorskip("httpx", reason="httpx is not installed")
for needed in ("starlette", "prometheus_client"):
    pytest.importorskip(needed, reason="the extra serve is not installed")

from t5x_lite.commands.options import make_parser
from t5x_lite.serving import engine as engine_module
from t5x_lite.serving.app import make_app
from t5x_lite.serving.engine import Engine
from t5x_lite.serving.telemetry import Telemetry
from tests.serving.models import SECONDS, TOKENIZER, alone, options, pretrained

NEW = 6
JSON = {"Content-Type": "application/json"}
RIGHT = {"model": "mine", "prompt": "one", "temperature": 0, "max_tokens": NEW}


class Asked:
    """A server without a socket, and what was asked of it."""

    def __init__(self, name="encoder_decoder", load=None, **fields):
        self.telemetry = Telemetry(lambda: self.engine.num_waiting)
        chosen = options(**fields)
        self.engine = Engine(chosen, on_batch=self.telemetry.batch_sizes.observe)
        self.app = make_app(self.engine, chosen, self.telemetry, model_name="mine")
        loaded = threading.Event()
        self.engine.start(load or (lambda: pretrained(name)), loaded.set)
        self.wait_until_ready = lambda: loaded.wait(SECONDS)
        if load is None:
            assert self.wait_until_ready()

    async def send(self, method, path, **more):
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, timeout=SECONDS, **more)

    def get(self, path, **more):
        return asyncio.run(self.send("GET", path, **more))

    def post(self, fields, path="/v1/completions", **more):
        return asyncio.run(self.send("POST", path, json=fields, **more))

    def count(self, name, **labels):
        return self.telemetry.registry.get_sample_value(name, labels)


@pytest.fixture
def make():
    made = []

    def make_one(*args, **fields):
        made.append(Asked(*args, **fields))
        return made[-1]

    yield make_one
    for asked in made:
        asked.engine.close(SECONDS)


@pytest.fixture(scope="module")
def server():
    asked = Asked()
    yield asked
    asked.engine.close(SECONDS)


def events_of(response) -> list:
    """The JSON objects of a stream, whose end is checked."""
    *data, done, nothing = response.text.split("\n\n")
    assert (done, nothing) == ("data: [DONE]", "")
    return [json.loads(line.removeprefix("data: ")) for line in data]


def texts_of(events) -> dict[int, str]:
    texts: dict[int, str] = {}
    for event in events:
        for choice in event["choices"]:
            texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
    return texts


def test_a_completion_is_the_models_answer(server):
    response = server.post(RIGHT)
    assert response.status_code == 200
    body = response.json()
    assert body["choices"] == [
        {"text": alone("one", max_new_tokens=NEW), "index": 0, "logprobs": None, "finish_reason": "length"}
    ]
    assert body["usage"] == {"prompt_tokens": 4, "completion_tokens": NEW, "total_tokens": 4 + NEW}
    assert (body["object"], body["model"]) == ("text_completion", "mine")


def test_many_at_once_get_their_own_answers_in_few_batches(make, compiled_when_used):
    asked, texts = make(batch_wait_ms=200), [chr(97 + number) * (1 + number % 5) + "?" for number in range(24)]

    async def all_at_once():
        return await asyncio.gather(
            *(asked.send("POST", "/v1/completions", json=RIGHT | {"prompt": text}) for text in texts)
        )

    answers = [response.json()["choices"][0]["text"] for response in asyncio.run(all_at_once())]
    assert answers == [alone(text, max_new_tokens=NEW) for text in texts]
    assert len(set(answers)) > 9  # mixed up ones would be noticed
    assert asked.count("t5x_lite_batch_size_sum") == 24
    assert asked.count("t5x_lite_batch_size_count") < 12


def test_choices_of_several_prompts_are_in_order(server):
    settings = {"temperature": 1, "n": 2, "seed": 3, "echo": True}
    choices = server.post(RIGHT | settings | {"prompt": ["one", "two", "three"]}).json()["choices"]
    assert [choice["index"] for choice in choices] == list(range(6))
    for choice, prompt in zip(choices, ["one", "one", "two", "two", "three", "three"], strict=True):
        assert choice["text"].startswith(prompt)
    assert len({choice["text"] for choice in choices}) == 6


def test_prompts_of_one_request_do_not_draw_the_same(server):
    choices = server.post(RIGHT | {"temperature": 2, "seed": 3, "prompt": ["one", "one"]}).json()["choices"]
    assert choices[0]["text"] != choices[1]["text"]


def test_the_parts_of_a_stream_join_to_the_completion(server):
    settings = {"max_tokens": 20, "prompt": ["one", "two"], "echo": True}
    whole = server.post(RIGHT | settings).json()
    response = server.post(RIGHT | settings | {"stream": True, "stream_options": {"include_usage": True}})
    assert response.headers["content-type"].startswith("text/event-stream")
    *events, last = events_of(response)
    assert texts_of(events) == {choice["index"]: choice["text"] for choice in whole["choices"]}
    assert len(events) > 4
    assert last["choices"] == []
    assert last["usage"] == whole["usage"]
    finishes = [choice["finish_reason"] for event in events for choice in event["choices"]]
    assert finishes.count("length") == 2
    assert len({event["id"] for event in [*events, last]}) == 1


def test_a_stream_without_include_usage_has_none(server):
    assert all("usage" not in event for event in events_of(server.post(RIGHT | {"stream": True})))


def test_a_chat_is_the_completion_of_its_prompt(server):
    fields = {"model": "mine", "messages": [{"role": "user", "content": "one"}], "temperature": 0, "max_tokens": NEW}
    body = server.post(fields, "/v1/chat/completions").json()
    [choice] = body["choices"]
    assert choice["message"]["content"] == alone("one", max_new_tokens=NEW)
    assert (body["object"], choice["finish_reason"], body["usage"]["completion_tokens"]) == (
        "chat.completion",
        "length",
        NEW,
    )
    streamed = fields | {"stream": True, "stream_options": {"include_usage": True}}
    *events, last = events_of(server.post(streamed, "/v1/chat/completions"))
    parts = [event["choices"][0]["delta"].get("content", "") for event in events]
    assert ("".join(parts), last["usage"]) == (choice["message"]["content"], body["usage"])


def test_a_beam_search_is_streamed_at_its_end(server):
    events = events_of(
        server.post({"model": "mine", "prompt": "one", "max_tokens": NEW, "num_beams": 2, "stream": True})
    )
    assert texts_of(events) == {0: alone("one", max_new_tokens=NEW, num_beams=2)}


def test_a_stop_string_ends_an_answer_and_frees_the_model(make):
    asked = make()
    whole = asked.post(RIGHT | {"max_tokens": 40}).json()["choices"][0]["text"]
    stop = whole[3:5]
    response = asked.post(RIGHT | {"max_tokens": 400, "stop": [stop]})
    [choice] = response.json()["choices"]
    assert (choice["text"], choice["finish_reason"]) == (whole[: whole.index(stop)], "stop")
    assert response.json()["usage"]["completion_tokens"] < 40


def test_log_probabilities_come_with_tokens_and_offsets(server):
    [choice] = server.post(RIGHT | {"logprobs": 1}).json()["choices"]
    log_probs = choice["logprobs"]
    assert len(log_probs["tokens"]) == len(log_probs["token_logprobs"]) == len(log_probs["text_offset"]) == NEW
    assert all(value < 0 for value in log_probs["token_logprobs"])
    events = events_of(server.post(RIGHT | {"logprobs": 1, "stream": True}))
    parts = [event["choices"][0]["logprobs"] for event in events if event["choices"][0]["logprobs"]]
    assert [token for part in parts for token in part["tokens"]] == log_probs["tokens"]


@pytest.mark.parametrize("num_top", [0, 1, 5])
def test_each_token_comes_with_as_many_probable_tokens_as_asked_for(server, num_top):
    fields = RIGHT | {"logprobs": num_top}
    [choice] = server.post(fields).json()["choices"]
    log_probs = choice["logprobs"]
    if not num_top:
        assert log_probs["top_logprobs"] is None
        return
    assert [len(top) for top in log_probs["top_logprobs"]] == [num_top] * NEW
    for value, top in zip(log_probs["token_logprobs"], log_probs["top_logprobs"], strict=True):
        assert value == max(top.values())  # greedy, as lm-eval finds out
        assert list(top.values()) == sorted(top.values(), reverse=True)
        assert sum(np.exp(list(top.values()))) < 1
    parts = [event["choices"][0]["logprobs"] for event in events_of(server.post(fields | {"stream": True}))]
    assert [top for part in parts if part for top in part["top_logprobs"]] == log_probs["top_logprobs"]


def test_a_sampled_token_is_listed_even_if_it_is_improbable(server):
    fields = RIGHT | {"logprobs": 2, "temperature": 2, "seed": 3, "n": 2, "best_of": 2}
    for choice in server.post(fields).json()["choices"]:
        log_probs = choice["logprobs"]
        for value, top in zip(log_probs["token_logprobs"], log_probs["top_logprobs"], strict=True):
            assert value in top.values()
            assert len(top) in (2, 3)


def test_the_probabilities_of_a_prompt_are_refused_in_one_clear_error(server):
    response = server.post(RIGHT | {"logprobs": 1, "echo": True, "prompt": [[5, 6, 7]]})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "logprobs"
    assert "an encoder gives none, and this server computes none" in response.json()["error"]["message"]


def test_embeddings_are_vectors_of_length_1_in_order(server):
    response = server.post({"model": "mine", "input": ["one", "another text"]}, "/v1/embeddings")
    body = response.json()
    for row, text in zip(body["data"], ["one", "another text"], strict=True):
        ids_1S = np.asarray([[*TOKENIZER.encode(text), 1]], np.int32)
        mean_D = np.asarray(pretrained().model.encode(ids_1S))[0].mean(axis=0)
        np.testing.assert_allclose(row["embedding"], mean_D / np.linalg.norm(mean_D), rtol=1e-3, atol=1e-5)
    assert body["usage"] == {"prompt_tokens": 17, "total_tokens": 17}
    fields = {"model": "mine", "input": "one", "encoding_format": "base64"}
    coded = server.post(fields, "/v1/embeddings").json()["data"][0]["embedding"]
    np.testing.assert_allclose(np.frombuffer(base64.b64decode(coded), "<f4"), body["data"][0]["embedding"], rtol=1e-3)


def test_more_texts_than_the_queue_holds_are_embedded_in_order(make):
    asked, texts = make("encoder", max_queue=3, batch_size=2), [f"text {number}" for number in range(8)]
    together = asked.post({"model": "mine", "input": texts}, "/v1/embeddings").json()["data"]
    assert [row["index"] for row in together] == list(range(8))
    for row, text in zip(together[::3], texts[::3], strict=True):
        alone = asked.post({"model": "mine", "input": text}, "/v1/embeddings").json()["data"][0]["embedding"]
        np.testing.assert_allclose(row["embedding"], alone, atol=1e-6)


def test_fewer_dimensions_are_the_first_ones_of_length_1(server):
    fields = {"model": "mine", "input": "one"}
    whole, short = (
        np.asarray(server.post(fields | more, "/v1/embeddings").json()["data"][0]["embedding"])
        for more in ({}, {"dimensions": 7})
    )
    np.testing.assert_allclose(short, whole[:7] / np.linalg.norm(whole[:7]), rtol=1e-3)


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "param"),
    [
        ("POST", "/v1/completions", {"content": b"{bad", "headers": JSON}, 400, None),
        ("POST", "/v1/completions", {"content": b"{}", "headers": {"Content-Type": "text/plain"}}, 415, None),
        ("POST", "/v1/completions", {"json": RIGHT, "headers": {"Host": "evil.example"}}, 403, None),
        ("POST", "/v1/completions", {"json": RIGHT | {"max_tokens": -1}}, 400, "max_tokens"),
        ("POST", "/v1/completions", {"json": RIGHT | {"model": "other"}}, 404, "model"),
        ("POST", "/v1/completions", {"content": b"a" * (2**20 + 1), "headers": JSON}, 413, None),
        ("POST", "/v1/embeddings", {"json": {"model": "mine"}}, 400, "input"),
        ("GET", "/v1/completions", {}, 405, None),
        ("GET", "/v1/models/other", {}, 404, "model"),
        ("GET", "/nowhere", {}, 404, None),
    ],
)
def test_errors_have_their_status_and_openais_format(server, method, path, more, status, param):
    response = asyncio.run(server.send(method, path, **more))
    assert response.status_code == status
    error = response.json()["error"]
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert server.post(RIGHT).status_code == 200


def test_a_body_without_a_length_is_limited_too(server):
    async def parts():
        for _ in range(100):
            yield b"a" * 2**16

    response = asyncio.run(server.send("POST", "/v1/completions", content=parts(), headers=JSON))
    assert response.status_code == 413


def test_a_wrong_method_is_answered_with_the_right_one(server):
    response = server.get("/v1/completions")
    assert response.headers["allow"] == "POST"
    assert response.json()["error"]["message"] == "GET /v1/completions is not served: use POST"


def test_models_are_listed_and_shown(server):
    [listed] = server.get("/v1/models").json()["data"]
    assert (listed["id"], listed["object"]) == ("mine", "model")
    assert server.get("/v1/models/mine").json() == listed


def test_health_says_which_model_is_ready(server):
    response = server.get("/health")
    expected = {"status": "ready", "model": "mine", "step": 7, "architecture": "encoder_decoder"}
    assert (response.status_code, response.json()) == (200, expected)


def test_requests_are_rejected_while_the_model_is_loading(make):
    gate = threading.Event()
    asked = make(load=lambda: gate.wait(SECONDS) and pretrained())
    assert (asked.get("/health").status_code, asked.get("/health").json()["status"]) == (503, "loading")
    response = asked.post(RIGHT)
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    gate.set()


def test_a_closing_server_rejects_requests(make):
    asked = make()
    asked.engine.close(SECONDS)
    assert asked.get("/health").json()["status"] == "closing"
    response = asked.post(RIGHT)
    assert response.status_code == 503
    assert "shutting down" in response.json()["error"]["message"]


def test_a_full_queue_is_too_many_requests(make, held):
    asked = make(max_queue=2, batch_size=1)
    response = asked.post(RIGHT | {"prompt": ["a", "b", "c"]})
    assert response.status_code == 400

    async def ask():
        first = asyncio.create_task(asked.send("POST", "/v1/completions", json=RIGHT | {"prompt": ["a", "b"]}))
        while asked.engine.num_waiting != 1:  # the model has the other
            await asyncio.sleep(0.001)
        refused = await asked.send("POST", "/v1/completions", json=RIGHT | {"prompt": ["c", "d"]})
        held.set()
        return await first, refused

    answered, refused = asyncio.run(ask())
    assert answered.status_code == 200
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_takes_too_long_is_cancelled(make, held, stream):
    asked = make(timeout_seconds=0.05)
    response = asked.post(RIGHT | {"stream": stream})
    assert (response.status_code, response.json()["error"]["code"]) == (504, "timeout")
    held.set()


def test_a_body_that_takes_too_long_is_cancelled(make):
    async def parts():
        yield b"{"
        await asyncio.sleep(SECONDS)

    async def ask():
        with contextlib.suppress(asyncio.CancelledError):
            return await asked.send("POST", "/v1/completions", content=parts(), headers=JSON)

    asked = make(receive_seconds=0.05)
    assert asyncio.run(ask()).status_code == 408


def test_outputs_that_are_not_numbers_are_no_answer(make):
    own = pretrained()
    asked = make(load=lambda: own._replace(model=jax.tree.map(lambda leaf: leaf * np.nan, own.model)))
    asked.wait_until_ready()
    for fields, path in ((RIGHT, "/v1/completions"), ({"model": "mine", "input": "one"}, "/v1/embeddings")):
        response = asked.post(fields, path)
        assert response.status_code == 503
        assert "are not numbers (NaN)" in response.json()["error"]["message"]


def test_a_response_has_the_id_that_is_logged(server, capsys):
    given = server.post(RIGHT).headers["x-request-id"]
    assert f"id={given} client=127.0.0.1 POST /v1/completions 200" in capsys.readouterr().err


def test_a_key_makes_the_host_and_the_type_of_a_request_free(make):
    headers = {"Authorization": "Bearer secret", "Host": "mine.example", "Content-Type": "text/plain"}
    asked = make(api_key="secret")
    assert asyncio.run(asked.send("POST", "/v1/completions", json=RIGHT, headers=headers)).status_code == 200


def test_a_stream_that_fails_ends_with_the_error_and_without_done(make, monkeypatch, caplog):
    asked, run_batch = make(), engine_module.run_batch

    def fail_later(pretrained, jobs, *more):
        tell = jobs[0].notify

        def once(event):
            jobs[0].notify = tell
            tell(event)
            raise RuntimeError("broken")

        jobs[0].notify = once
        run_batch(pretrained, jobs, *more)

    monkeypatch.setattr(engine_module, "run_batch", fail_later)
    response = asked.post(RIGHT | {"stream": True, "max_tokens": 30})
    assert response.status_code == 200
    first, last, nothing = response.text.split("\n\n")
    assert json.loads(first.removeprefix("data: "))["choices"][0]["finish_reason"] is None
    assert json.loads(last.removeprefix("data: "))["error"]["type"] == "server_error"
    assert nothing == ""
    assert "broken" in caplog.text


def test_requests_without_the_key_are_rejected(make):
    asked = make(api_key="secret")
    assert asked.post(RIGHT, headers={"Authorization": "Bearer secret"}).status_code == 200
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic secret"}):
        response = asked.post(RIGHT, headers=headers)
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "invalid_api_key"
        assert asked.get("/v1/models", headers=headers).status_code == 401
    assert asked.get("/health").status_code == asked.get("/metrics").status_code == 200


@pytest.mark.parametrize("key", ["#s3cret", "null", "~", "[x]"])
def test_a_key_on_the_command_line_is_the_one_that_requests_need(make, key):
    chosen = make_parser("serve").parse_args(["serve", "--checkpoint", "run", "--api_key", key]).serve
    asked = make(api_key=chosen.api_key)
    assert asked.get("/v1/models").status_code == 401
    assert asked.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200


def test_requests_and_tokens_are_counted(make):
    asked = make()
    asked.post(RIGHT)
    asked.post(RIGHT | {"prompt": ["one", "another"], "stream": True})
    asked.post(RIGHT | {"n": 0})
    assert asked.count("t5x_lite_requests_total", route="/v1/completions", status="200") == 2
    assert asked.count("t5x_lite_requests_total", route="/v1/completions", status="400") == 1
    assert asked.count("t5x_lite_input_tokens_total") == 4 + 4 + 8
    assert asked.count("t5x_lite_new_tokens_total") == 3 * NEW
    assert asked.count("t5x_lite_first_token_seconds_count") == 2
    assert "t5x_lite_queue_length 0.0" in asked.get("/metrics").text
    assert asked.count("t5x_lite_programs") == asked.count("t5x_lite_programs_compiled") == len(asked.engine.programs)


def test_decoder_only_and_encoder_only_models_serve_what_they_can(make):
    decoder = make("causal_lm")
    assert decoder.post(RIGHT).json()["usage"]["prompt_tokens"] == 3
    assert decoder.post({"model": "mine", "input": "a"}, "/v1/embeddings").status_code == 400
    encoder = make("masked_lm")
    assert encoder.post(RIGHT).status_code == 400
    assert encoder.post({"model": "mine", "input": "a"}, "/v1/embeddings").status_code == 200
    alone = make("encoder")
    assert "an encoder, which generates no text" in alone.post(RIGHT).json()["error"]["message"]
    assert alone.post({"model": "mine", "input": "a"}, "/v1/embeddings").status_code == 200
