# SPDX-License-Identifier: Apache-2.0
"""Benchmarks `t5x-lite serve` with one client, then with many at once; prints JSON.

    python scripts/bench_serve.py --checkpoint flan-t5-small --seconds 60
    python scripts/bench_serve.py --checkpoint flan-t5-small --attack --seconds 600

First requests the greedy completion of each prompt alone; a later completion that differs counts as mixed up. With
--attack, measures the clients without and with attackers beside them, and exits with 1 unless every request of theirs
is answered, the slowest take at most 3 times as long, /health always answers, and the memory does not grow once the
server keeps as many programs as it may.
"""

import argparse
import collections
import contextlib
import http.client
import json
import pathlib
import re
import signal
import statistics
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
SECONDS_TO_STOP, WARM_UP_SECONDS = 60, 10
ATTACK = pathlib.Path(__file__).with_name("attack_serve.py")
MOST_SLOWER, MOST_GROWTH = 3, 1.05  # of the 99th percentile of seconds, and of resident memory
CALM_SECONDS = 60  # at most
MOST_PROGRAMS = 32  # that an attacked server keeps, fewer than usual: its memory grows until there are as many


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
        self.address, self.model, self._max_tokens = address, model, max_tokens
        self._lock = threading.Lock()
        self.expected: dict[str, str] = {}
        self.counts: collections.Counter[str] = collections.Counter()
        self.seconds: list[float] = []  # of each answer

    def ask(self, connection: http.client.HTTPConnection, prompt: str) -> tuple[str, int]:
        """Returns the greedy answer and its number of tokens."""
        body = {"model": self.model, "prompt": prompt, "temperature": 0, "max_tokens": self._max_tokens}
        connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 200:
            raise OSError(f"{response.status}: {answer}")
        return answer["choices"][0]["text"], answer["usage"]["completion_tokens"]

    def connect(self) -> http.client.HTTPConnection:
        """Returns a persistent connection."""
        return http.client.HTTPConnection(*self.address, timeout=300)

    def keep_asking(self, first: int, until: float) -> None:
        """Sends prompts one after another."""
        connection, prompts = self.connect(), list(self.expected)
        number = first
        while time.monotonic() < until:
            prompt = prompts[number % len(prompts)]
            number += 1
            begin = time.monotonic()
            try:
                text, num_tokens = self.ask(connection, prompt)
            except (OSError, http.client.HTTPException, ValueError) as error:
                print(error, file=sys.stderr)
                with self._lock:
                    self.counts["errors"] += 1
                connection = self.connect()
                continue
            with self._lock:
                self.seconds.append(time.monotonic() - begin)
                self.counts["requests"] += 1
                self.counts["new_tokens"] += num_tokens
                self.counts["mixed_up"] += text != self.expected[prompt]

    def measure(self, num_clients: int, seconds: float) -> dict[str, Any]:
        """Returns the throughput of `num_clients` concurrent clients."""
        self.counts.clear()
        self.seconds.clear()
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
        percentiles = statistics.quantiles([*self.seconds, *self.seconds], n=100)
        return {
            "clients": num_clients,
            "seconds": round(took, 1),
            "requests": self.counts["requests"],
            "requests_per_second": round(self.counts["requests"] / took, 2),
            "new_tokens_per_second": round(self.counts["new_tokens"] / took, 1),
            **{f"p{percent}_seconds": round(percentiles[percent - 1], 3) for percent in (50, 95, 99)},
            "errors": self.counts["errors"],
            "mixed_up": self.counts["mixed_up"],
        }


def resident_mib(pid: int) -> float:
    """Returns the resident memory of a process."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return round(int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024, 1)


class Watch:
    """Notes each second how much memory a server has, and whether /health answers a new connection."""

    def __init__(self, pid: int, address: tuple[str, int]):
        self._pid, self._address = pid, address
        self._ended = threading.Event()
        self.resident_mib: list[float] = []
        self.num_programs: list[int] = []
        self.health: list[float | None] = []  # seconds; None without an answer
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(1):
            self.resident_mib.append(resident_mib(self._pid))
            self.num_programs.append(programs(self._address)["kept"])
            begin = time.monotonic()
            answered = get(self._address, "/health") is not None
            self.health.append(time.monotonic() - begin if answered else None)

    def growth(self) -> float | None:
        """Returns the ratio of the memory at the end to that when the store of programs was full; None if it is not."""
        if max(self.num_programs) < MOST_PROGRAMS:
            return None
        since_full = self.resident_mib[self.num_programs.index(MOST_PROGRAMS) :]
        fifth = max(1, len(since_full) // 5)
        return round(statistics.median(since_full[-fifth:]) / statistics.median(since_full[:fifth]), 3)


def get(address: tuple[str, int], path: str) -> str | None:
    """Returns a response's text, None without status 200."""
    with contextlib.closing(http.client.HTTPConnection(*address, timeout=30)) as connection:
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.read().decode() if response.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None


def programs(address: tuple[str, int]) -> dict[str, int]:
    """Returns the numbers of compiled programs that are kept, and that were ever compiled."""
    text = get(address, "/metrics") or ""
    found = dict(re.findall(r"^t5x_lite_(programs(?:_compiled)?) (\d+)", text, re.MULTILINE))
    return {"kept": int(found["programs"]), "compiled": int(found["programs_compiled"])}


def attacked(server: "subprocess.Popen[str]", clients: Clients, options: argparse.Namespace) -> dict[str, Any]:
    """Measures the clients of a server without attackers, with them beside, and without them again."""
    calm = [clients.measure(options.clients, min(CALM_SECONDS, options.seconds))]
    host, port = clients.address
    arguments = ["--host", host, "--port", str(port), "--model", clients.model, "--seconds", str(options.seconds)]
    before = programs(clients.address)
    attack = subprocess.Popen([sys.executable, str(ATTACK), *arguments], stdout=subprocess.PIPE, text=True)
    with Watch(server.pid, clients.address) as watch:
        beside = clients.measure(options.clients, options.seconds)
    attacks = json.loads(attack.communicate()[0])
    after = programs(clients.address)
    calm.append(clients.measure(options.clients, min(CALM_SECONDS, options.seconds)))
    slower = beside["p99_seconds"] / statistics.mean(half["p99_seconds"] for half in calm)
    answered = [seconds for seconds in watch.health if seconds is not None]
    growth = watch.growth()
    failures = beside["errors"] + beside["mixed_up"] + len(watch.health) - len(answered)
    return {
        "calm": calm,
        "attacked": beside,
        "attacks": attacks,
        "ratio_of_p99": round(slower, 2),
        "health": {"asked": len(watch.health), "answered": len(answered), "slowest_seconds": round(max(answered), 3)},
        "programs": {"before": before, "after": after},
        "resident_mib": {
            "begin": watch.resident_mib[0],
            "most": max(watch.resident_mib),
            "end": watch.resident_mib[-1],
        },
        "growth": growth,
        "withstood": failures == 0 and slower <= MOST_SLOWER and (growth or 1) <= MOST_GROWTH,
    }


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
    clients.measure(options.clients, WARM_UP_SECONDS)  # compiles the remaining programs
    if options.attack:
        return attacked(server, clients, options)
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
    parser.add_argument("--attack", action="store_true", help="measure the clients beside attackers")
    options = parser.parse_args()
    arguments = ["serve", "--checkpoint", options.checkpoint, "--port", "0", "--batch_size", str(options.batch_size)]
    arguments += ["--log_requests", "false"]
    if options.attack:
        arguments += ["--max_programs", str(MOST_PROGRAMS)]
    server = subprocess.Popen([sys.executable, "-c", START, *arguments], stderr=subprocess.PIPE, text=True)
    try:
        measured = measure(server, options)
    finally:
        server.send_signal(signal.SIGTERM)
        status = server.wait(SECONDS_TO_STOP)
    print(json.dumps({**measured, "exit_status": status}, indent=2))
    sys.exit(0 if measured.get("withstood", True) else 1)


if __name__ == "__main__":
    main()
