"""Tests t5x_lite/serving/refusals.py"""

import pytest

from t5x_lite.serving.refusals import Refused


def test_a_refusal_has_openais_form():
    refused = Refused(400, "n is 0: use a number above 0", "n")
    error = {"message": "n is 0: use a number above 0", "type": "invalid_request_error", "param": "n", "code": None}
    assert refused.body == {"error": error}
    assert refused.headers == {}


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
    refused = Refused(status, "no")
    assert (refused.body["error"]["type"], refused.body["error"]["code"]) == (kind, code)
    assert refused.headers == headers


def test_a_code_may_be_given():
    assert Refused(404, "no", "model", code="model_not_found").body["error"]["code"] == "model_not_found"
