# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite serve`: serves a model over HTTP with OpenAI's API."""

import dataclasses
import importlib.util
import os

from t5x_lite.config.commands import ServeConfig

API_KEY = "T5X_LITE_API_KEY"
REQUIRED = ("starlette", "uvicorn", "prometheus_client", "pydantic")


def run(options: ServeConfig) -> None:
    """Serves a model until SIGTERM or Ctrl-C, then finishes running requests.

    Without `options.api_key`, the key is taken from the environment variable T5X_LITE_API_KEY.
    """
    missing = [name for name in REQUIRED if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"serve needs {', '.join(missing)}: pip install 't5x-lite[serve]'")
    from t5x_lite.serving.server import serve

    serve(dataclasses.replace(options, api_key=options.api_key or os.environ.get(API_KEY) or None))
