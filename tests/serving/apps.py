"""ASGI applications that middleware wraps."""


async def answer(scope, receive, send):
    """Answers every request with status 204."""
    del scope, receive
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
