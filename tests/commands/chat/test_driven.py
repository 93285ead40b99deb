"""`t5x-lite infer --interactive` as a person uses it: in a terminal, with a keyboard."""

import dataclasses
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

from t5x_lite.checkpoints.load import load, save_hf
from t5x_lite.commands.chat.session import HOW_TO_LEAVE
from t5x_lite.commands.chat.terminal import VISIBLE
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.inference.api import generate
from tests import tiny

pytestmark = pytest.mark.slow
TIMEOUT_SECONDS = 120
# Background processes may start with Ctrl-C ignored.
MAIN = """
import signal, sys
from t5x_lite.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(sys.argv[1:]))
"""
COMMAND = (sys.executable, "-c", MAIN, "infer", "--interactive", "--checkpoint")
PROMPT, PREVIOUS_LINE, END, TAB = "> ", "\x10", "\x04", "\t"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny_byt5"
    save_hf(tiny.model(dataclasses.replace(tiny.T5_1_1, vocab_size=384)), ByteTokenizer(), path)
    (path / "tokenizer_config.json").write_text('{"tokenizer_class": "ByT5Tokenizer"}')
    return path


class Driven:
    """A session in a pseudo-terminal."""

    def __init__(self, checkpoint, state, *options):
        environment = os.environ | {"XDG_STATE_HOME": str(state), "TERM": "dumb"}
        self._terminal, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [*COMMAND, str(checkpoint), *options], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
        )
        os.close(theirs)
        self._unread = ""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        os.close(self._terminal)

    def expect(self, text):
        """Reads until a text appears."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while text not in self._unread:
            assert time.monotonic() < deadline, f"{text!r} did not appear: {self._unread!r}"
            if select.select([self._terminal], [], [], 0.1)[0]:
                self._unread += os.read(self._terminal, 4096).decode(errors="replace").replace("\r", "")
        self._unread = self._unread.partition(text)[2]

    def type(self, keys):
        """Types at the prompt; a terminal without one would handle the keys itself."""
        self.expect(PROMPT)
        os.write(self._terminal, keys.encode())


def test_a_session_answers_completes_and_recalls_lines(checkpoint, tmp_path):
    (answer,) = generate(load(checkpoint), ["hello"], max_new_tokens=5)
    history = tmp_path / "t5x-lite" / "history"
    for first in (True, False):
        with Driven(checkpoint, tmp_path, "--max_new_tokens", "5") as session:
            session.expect(HOW_TO_LEAVE)
            session.type("hello\n" if first else 2 * PREVIOUS_LINE + "\n")  # of the session before
            session.expect(f"hello\n{answer.translate(VISIBLE)}\n")
            session.expect(" tokens, the first after ")
            session.type("/temperat" + TAB + "0.5\n")
            session.expect("\ntemperature 0.5\n")
            session.type(END)
            assert session.process.wait(TIMEOUT_SECONDS) == 0
        assert history.read_text().splitlines()[-2:] == ["hello", "/temperature 0.5"]


def test_ctrl_c_stops_only_the_answer(checkpoint, tmp_path):
    with Driven(checkpoint, tmp_path, "--max_new_tokens", "20000", "--min_new_tokens", "20000") as session:
        session.type("for ever\n")
        session.expect("for ever\n")
        while len(session._unread) < 100:
            session._unread += os.read(session._terminal, 4096).decode(errors="replace")
        session.process.send_signal(signal.SIGINT)
        session.expect("stopped\n")
        session.type("/quit\n")
        assert session.process.wait(TIMEOUT_SECONDS) == 0


def test_a_pipe_receives_one_answer_per_line_and_nothing_else(checkpoint, tmp_path):
    texts = ["hello", "", "good bye"]
    answers = generate(load(checkpoint), texts, max_new_tokens=5, batch_size=1)
    done = subprocess.run(
        [*COMMAND, str(checkpoint), "--max_new_tokens", "5"],
        input="\n".join(texts).encode(),
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        env=os.environ | {"XDG_STATE_HOME": str(tmp_path)},
    )
    assert (done.returncode, done.stdout.decode()) == (0, "".join(f"{answer}\n" for answer in answers))
    assert done.stderr.count(b"\n") == 1
    assert not list(tmp_path.iterdir())  # a pipe has no history
