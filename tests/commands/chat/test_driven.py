"""`t5x-lite infer --interactive` as a person uses it: in a terminal, with a keyboard."""

import dataclasses
import json
import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest

from t5x_lite.checkpoints.load import load, save_hf
from t5x_lite.commands.chat.session import HOW_TO_LEAVE
from t5x_lite.data.tokenizers import ByteTokenizer
from t5x_lite.inference.api import generate
from tests import tiny

pytestmark = pytest.mark.slow
TIMEOUT_SECONDS = 120
MAIN = "import sys; from t5x_lite.cli import main; sys.exit(main(sys.argv[1:]))"
# The terminal where Ctrl-C is typed, which tests that run in the background are told to ignore, and all they start.
OWN_TERMINAL = "import os, signal; os.close(os.open(os.ttyname(0), os.O_RDWR)); "
OWN_TERMINAL += "signal.signal(signal.SIGINT, signal.default_int_handler); "
COMMAND = ("infer", "--interactive", "--checkpoint")
ESCAPES = re.compile(r"\x1b\[[?\d;]*[a-zA-Z]")
AT_PROMPT = re.compile(r"(\A|\n)> \Z")
UP, CTRL_C, CTRL_D, TAB = "\x1b[A", "\x03", "\x04", "\t"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny_byt5"
    save_hf(tiny.model(dataclasses.replace(tiny.T5_1_1, vocab_size=384)), ByteTokenizer(), path)
    (path / "tokenizer_config.json").write_text('{"tokenizer_class": "ByT5Tokenizer"}')
    return path


class Person:
    """Types at a session in a pseudo-terminal, and reads what appears."""

    def __init__(self, checkpoint, state, *options):
        environment = os.environ | {"XDG_STATE_HOME": str(state), "TERM": "xterm", "NO_COLOR": ""}
        command = [sys.executable, "-c", OWN_TERMINAL + MAIN, *COMMAND, str(checkpoint), *options]
        self.keyboard, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
        )
        os.close(theirs)
        self.seen = b""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        os.close(self.keyboard)

    def types(self, keys):
        """Types once the prompt is there: before, a terminal echoes keys itself, and takes Ctrl-D for its own."""
        self.waits_for(AT_PROMPT)
        os.write(self.keyboard, keys.encode())

    def waits_for(self, pattern, *, typing=""):
        """Returns what appeared up to a pattern, without the codes of colours and the cursor.

        What is typed meanwhile is typed every few seconds: readline may hear of Ctrl-C with the next key.
        """
        pattern = pattern if isinstance(pattern, re.Pattern) else re.compile(re.escape(pattern))
        deadline, next_typing = time.monotonic() + TIMEOUT_SECONDS, time.monotonic()
        while not (found := pattern.search(shown := self.shown())):
            assert time.monotonic() < deadline, f"{pattern.pattern} did not appear: {shown!r}"
            if typing and time.monotonic() >= next_typing:
                os.write(self.keyboard, typing.encode())
                next_typing += 5
            if select.select([self.keyboard], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.keyboard, 4096)
                except OSError:  # Linux's way to say that the process has closed its end
                    raise AssertionError(f"{pattern.pattern} did not appear before the end: {shown!r}") from None
        self.seen = shown[found.end() :].encode(errors="surrogateescape")
        return shown[: found.start()]

    def shown(self):
        return ESCAPES.sub("", self.seen.decode(errors="surrogateescape")).replace("\r", "")

    def leaves(self):
        """Returns the exit status, once the process has ended."""
        return self.process.wait(timeout=TIMEOUT_SECONDS)


def test_a_session_in_a_terminal(checkpoint, tmp_path):
    examples = tmp_path / "pairs.jsonl"
    examples.write_text("\n".join(json.dumps({"inputs": f"q{n}", "targets": f"a{n}"}) for n in range(9)))
    (answer,) = generate(load(checkpoint), ["hello"], max_new_tokens=5)
    shown = answer.translate({code: 0x2400 + code for code in range(32)} | {127: 0x2421})
    with Person(checkpoint, tmp_path, "--max_new_tokens", "5", "--shots", "2", "--examples", str(examples)) as person:
        assert "tiny_byt5: step 0, encoder_decoder, " in person.waits_for(HOW_TO_LEAVE)
        person.types("/shots 0\n")
        person.waits_for("0 examples before each text")
        person.types("hello\n")
        person.waits_for(f"hello\n{shown}\n")
        person.waits_for(" tokens, the first after ")

        person.types("/temperature 0.7\n")
        person.waits_for("/temperature 0.7\ntemperature 0.7\n")
        person.types("/temperature hot\n")
        person.waits_for("temperature is 'hot': use a number\n")
        person.types("/shots 3\n")
        person.waits_for("3 examples before each text")
        person.types("/shots\n")
        person.waits_for("-> a")
        person.types("/temperat" + TAB + "0.5\n")
        person.waits_for("/temperature 0.5\ntemperature 0.5\n")

        person.types(UP * 2 + "\n")  # the line before the last one
        person.waits_for("-> a")

        person.waits_for(AT_PROMPT)
        person.waits_for(HOW_TO_LEAVE, typing=CTRL_C)
        person.types("/max_new_tokens 20000\n")
        person.types("/min_new_tokens 20000\n")
        person.waits_for("min_new_tokens 20000\n")
        person.types("for ever\n")
        person.waits_for("for ever\n")
        person.waits_for(re.compile(r"(?s).{100}"))  # tokens come
        person.waits_for("stopped\n", typing=CTRL_C)
        person.types("/temperature\n")
        person.waits_for("temperature 0.5\n")
        person.types(CTRL_D)
        assert person.leaves() == 0

    history = tmp_path / "t5x-lite" / "history"
    assert history.read_text().splitlines()[:3] == ["/shots 0", "hello", "/temperature 0.7"]
    with Person(checkpoint, tmp_path) as person:
        person.types(UP + "\n")  # of the session before
        person.waits_for("temperature 0.0\n")
        person.types("/quit\n")
        assert person.leaves() == 0
    assert history.read_text().splitlines()[-2:] == ["/temperature", "/quit"]


def test_a_pipe_gets_an_answer_a_line_and_nothing_else(checkpoint, tmp_path):
    texts = ["hello", "", "good bye"]
    answers = generate(load(checkpoint), texts, max_new_tokens=5, batch_size=1)
    command = [sys.executable, "-c", MAIN, *COMMAND, str(checkpoint), "--max_new_tokens", "5"]
    done = subprocess.run(
        command,
        input="\n".join(texts).encode(),
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        env=os.environ | {"XDG_STATE_HOME": str(tmp_path)},
    )
    assert (done.returncode, done.stdout.decode()) == (0, "".join(f"{answer}\n" for answer in answers))
    assert done.stderr.count(b"\n") == 1
    assert not list(tmp_path.iterdir())  # a pipe has no history
