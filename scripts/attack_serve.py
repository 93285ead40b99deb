# SPDX-License-Identifier: Apache-2.0
"""Attacks a server of `t5x-lite serve`; prints how often each attack was made. `bench_serve.py --attack` runs it.

python scripts/attack_serve.py --port 8000 --model flan-t5-small --seconds 60
"""

import argparse
import asyncio
import collections
import contextlib
import json
import random
from collections.abc import Callable, Coroutine
from typing import Any

SLOW_HEADERS, SLOW_BODIES, ENDLESS_BODIES, HANG_UPS, NOT_READING, ODD = 200, 20, 4, 4, 10, 2  # at once
ODD_BODIES = (
    b"{",
    b"[" * 100_000,
    b'{"model": "\\ud800"}',
    b"\xff\xfe",
    b'{"prompt": ' + b"9" * 100_000 + b"}",
    b'{"prompt": NaN}',
    b'"text"',
    b"",
)
ODD_HEADS = (
    "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n",
    "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
    "GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + "x" * 100_000 + "\r\n\r\n",
    "GET /health HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)


class Attack:
    """Attackers of one server, until they are cancelled."""

    def __init__(self, host: str, port: int, model: str):
        self._host, self._port, self._model = host, port, model
        self._random = random.Random(0)
        self.counts: collections.Counter[str] = collections.Counter()

    async def run(self, seconds: float) -> None:
        """Runs all attacks at once for some seconds."""
        attacks = (
            [self.slow_headers] * SLOW_HEADERS
            + [self.slow_body] * SLOW_BODIES
            + [self.endless_body] * ENDLESS_BODIES
            + [self.hang_up] * HANG_UPS
            + [self.not_reading] * NOT_READING
            + [self.odd_bytes] * ODD
            + [self.odd_settings] * ODD
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*map(self._repeat, attacks))

    async def _repeat(self, attack: Callable[..., Coroutine[Any, Any, None]]) -> None:
        while True:
            with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError):
                reader, writer = await asyncio.open_connection(self._host, self._port)
                self.counts[attack.__name__] += 1
                try:
                    await attack(reader, writer)
                finally:
                    writer.transport.abort()
            await asyncio.sleep(0.1)

    async def slow_headers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Sends a letter of a header each second."""
        del reader
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-")
        await _drip(writer, b"x")

    async def slow_body(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Sends a byte of a body each second."""
        del reader
        writer.write(self._head("/v1/completions", "Content-Length: 1000"))
        await _drip(writer, b" ")

    async def endless_body(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Sends a body without end to routes that read it and that do not."""
        del reader
        path = self._random.choice(["/v1/completions", "/v1/models", "/health", "/nowhere"])
        writer.write(self._head(path, "Transfer-Encoding: chunked"))
        while True:
            writer.write(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    async def hang_up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Leaves in the middle of a stream, or before it."""
        writer.write(self._request({"prompt": "one", "max_tokens": 100, "stream": True}))
        await asyncio.wait_for(reader.read(self._random.choice([1, 500])), self._random.random())

    async def not_reading(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Asks, and reads nothing."""
        del reader
        writer.write(self._request({"prompt": "one", "max_tokens": 16, "stream": True}))
        await writer.drain()
        await asyncio.sleep(20)

    async def odd_bytes(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Sends what is no request, or a request with a body that is none."""
        if self._random.random() < 0.5:
            writer.write(self._random.choice(ODD_HEADS).encode("latin-1"))
        else:
            body = self._random.choice(ODD_BODIES)
            writer.write(self._head("/v1/completions", f"Content-Length: {len(body)}") + body)
        await asyncio.wait_for(reader.read(), 2)

    async def odd_settings(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Asks for settings that need many programs."""
        fields: dict[str, Any] = {"prompt": "x" * self._random.randrange(1, 200)}
        fields["max_tokens"] = self._random.choice([1, 10, 20, 40])
        fields["no_repeat_ngram_size"] = self._random.randrange(17)
        if self._random.random() < 0.5:
            fields["num_beams"] = self._random.randrange(2, 17)
        else:
            fields |= {"temperature": 1.0, "n": self._random.randrange(1, 17), "top_k": self._random.randrange(2000)}
        writer.write(self._request(fields))
        await asyncio.wait_for(reader.read(), 60)

    def _head(self, path: str, length: str) -> bytes:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
        return f"{head}{length}\r\n\r\n".encode()

    def _request(self, fields: dict[str, Any]) -> bytes:
        body = json.dumps({"model": self._model, **fields}).encode()
        return self._head("/v1/completions", f"Content-Length: {len(body)}") + body


async def _drip(writer: asyncio.StreamWriter, byte: bytes) -> None:
    """Sends a byte each second until the server closes the connection."""
    while True:
        writer.write(byte)
        await writer.drain()
        await asyncio.sleep(1)


def main() -> None:
    """Attacks, and prints the number of attacks of each kind as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    attack = Attack(options.host, options.port, options.model)
    asyncio.run(attack.run(options.seconds))
    print(json.dumps(attack.counts))


if __name__ == "__main__":
    main()
