# SPDX-License-Identifier: Apache-2.0
"""Benchmarks `t5x-lite serve` with one client, then with many at once; prints JSON.

    python scripts/bench_serve.py --checkpoint flan-t5-small --seconds 60

First requests the greedy completion of each prompt alone; a later completion that differs counts as mixed up.
"""

import argparse
import collections
import http.client
import json
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
from typing import Any

WORDS = (
    "the",
    "model",
    "reads",
    "a",
    "text",
    "of",
    "words",
    "and",
    "writes",
    "one",
    "about",
    "rivers",
    "stones",
    "rain",
)
START = "import sys; from t5x_lite.cli import main; sys.exit(main())"
URL = re.compile(r"http://([^:]+):(\d+)/v1")
SECONDS_TO_STOP = 60


def prompt_of(number: int) -> str:
    """Returns a text of 3 to 14 words, unique to the number."""
    return " ".join(
        [str(number), *(WORDS[(number * 7 + i * (number % 5 + 1)) % len(WORDS)] for i in range(number % 12 + 2))]
    )


class Clients:
    """Counts the answers that one server's clients receive.

    Args:
      address: host and port.
      model: the name of the model.
      max_tokens: the number of tokens to request.
    """

    def __init__(self, address: tuple[str, int], model: str, max_tokens: int):
        self._address, self._model, self._max_tokens = address, model, max_tokens
        self._lock = threading.Lock()
        self.expected: dict[str, str] = {}
        self.counts: collections.Counter[str] = collections.Counter()

    def ask(self, connection: http.client.HTTPConnection, prompt: str) -> tuple[str, int]:
        """Returns the greedy answer and its number of tokens."""
        body = {"model": self._model, "prompt": prompt, "temperature": 0, "max_tokens": self._max_tokens}
        connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 200:
            raise OSError(f"{response.status}: {answer}")
        return answer["choices"][0]["text"], answer["usage"]["completion_tokens"]

    def connect(self) -> http.client.HTTPConnection:
        """Returns a persistent connection."""
        return http.client.HTTPConnection(*self._address, timeout=300)

    def keep_asking(self, first: int, until: float) -> None:
        """Sends prompts one after another."""
        connection, prompts = self.connect(), list(self.expected)
        number = first
        while time.monotonic() < until:
            prompt = prompts[number % len(prompts)]
            number += 1
            try:
                text, num_tokens = self.ask(connection, prompt)
            except (OSError, http.client.HTTPException, ValueError) as error:
                print(error, file=sys.stderr)
                with self._lock:
                    self.counts["errors"] += 1
                connection = self.connect()
                continue
            with self._lock:
                self.counts["requests"] += 1
                self.counts["new_tokens"] += num_tokens
                self.counts["mixed_up"] += text != self.expected[prompt]

    def measure(self, num_clients: int, seconds: float) -> dict[str, Any]:
        """Returns the throughput of `num_clients` concurrent clients."""
        self.counts.clear()
        begin = time.monotonic()
        threads = [
            threading.Thread(target=self.keep_asking, args=(7 * number, begin + seconds))
            for number in range(num_clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - begin
        return {
            "clients": num_clients,
            "seconds": round(took, 1),
            "requests": self.counts["requests"],
            "requests_per_second": round(self.counts["requests"] / took, 2),
            "new_tokens_per_second": round(self.counts["new_tokens"] / took, 1),
            "errors": self.counts["errors"],
            "mixed_up": self.counts["mixed_up"],
        }


def resident_mib(pid: int) -> float:
    """Returns the resident memory of a process."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return round(int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024, 1)


def measure(server: "subprocess.Popen[str]", options: argparse.Namespace) -> dict[str, Any]:
    """Measures a freshly started server."""
    assert server.stderr is not None
    found = None
    while found is None:
        line = server.stderr.readline()
        if not line:
            raise SystemExit("the server exited before it was ready")
        print(line, end="", file=sys.stderr)
        found = URL.search(line)
    threading.Thread(target=lambda: [print(line, end="", file=sys.stderr) for line in server.stderr or ()]).start()
    model = pathlib.Path(options.checkpoint).resolve().name
    clients = Clients((found[1], int(found[2])), model, options.max_tokens)
    connection = clients.connect()
    for number in range(options.prompts):
        clients.expected[prompt_of(number)] = clients.ask(connection, prompt_of(number))[0]
    clients.measure(options.clients, 3)  # compiles the remaining programs
    memory = [resident_mib(server.pid)]
    alone = clients.measure(1, options.seconds)
    memory.append(resident_mib(server.pid))
    together = clients.measure(options.clients, options.seconds / 2)
    memory.append(resident_mib(server.pid))
    second = clients.measure(options.clients, options.seconds / 2)
    memory.append(resident_mib(server.pid))
    rates = [half["new_tokens_per_second"] for half in (together, second)]
    return {
        "alone": alone,
        "together": [together, second],
        "different_answers": len(set(clients.expected.values())),
        "ratio_of_tokens_per_second": round(sum(rates) / 2 / alone["new_tokens_per_second"], 2),
        "resident_mib": dict(zip(("begin", "after_alone", "middle", "end"), memory, strict=True)),
    }


def main() -> None:
    """Starts a server, measures it and stops it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--prompts", type=int, default=64, help="number of different prompts")
    parser.add_argument("--max_tokens", type=int, default=16)
    parser.add_argument("--batch_size", type=int, default=16)
    options = parser.parse_args()
    arguments = ["serve", "--checkpoint", options.checkpoint, "--port", "0", "--batch_size", str(options.batch_size)]
    server = subprocess.Popen([sys.executable, "-c", START, *arguments], stderr=subprocess.PIPE, text=True)
    try:
        measured = measure(server, options)
    finally:
        server.send_signal(signal.SIGTERM)
        status = server.wait(SECONDS_TO_STOP)
    print(json.dumps({**measured, "exit_status": status}, indent=2))


if __name__ == "__main__":
    main()
