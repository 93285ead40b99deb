# SPDX-License-Identifier: Apache-2.0
"""Lines read from a terminal or a pipe, with history and completion; texts written as they grow."""

import contextlib
import os
import pathlib
import re
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console

PROMPT = "> "
MOST_LINES = 1_000  # of the history
# What stands for the first bytes of a character: ByT5's sentinels are bytes too.
INCOMPLETE = re.compile(r"(?:\ufffd|<extra_id_\d+>){1,3}\Z")
# Control characters, which could move the cursor or worse, become their pictures; a line's end and a tab are kept.
VISIBLE = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {0x7F: 0x2421}
VISIBLE |= dict.fromkeys(range(128, 160), 65533)


class Terminal:
    """Where lines are read and answers written: a person's terminal, or pipes, which get the answers alone.

    Args:
      completions: what the last word of a line may become, from the line before it and the word.
    """

    def __init__(self, completions: Callable[[str, str], list[str]]):
        self.is_typed, self.is_seen = sys.stdin.isatty(), sys.stdout.isatty()
        self._console = Console(file=sys.stdout)
        self._history: History | None = None
        if self.is_typed:
            # A byte that is no UTF-8, typed by mistake, does not end a session.
            sys.stdin.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
        if self.is_typed and self.is_seen:
            with contextlib.suppress(ImportError):  # Windows has none
                import readline

                _complete(readline, completions)
                self._history = History(readline, history_path())

    def read(self) -> str:
        """Returns the next line, without its end; raises EOFError when there is none."""
        if self._history is not None:
            self._history.save()
        if self.is_typed and not self.is_seen:
            print(PROMPT, end="", file=sys.stderr, flush=True)
        try:
            return input(PROMPT if self.is_typed and self.is_seen else "")
        except EOFError:
            if self.is_typed:  # the shell goes on with a line of its own
                print(file=sys.stdout if self.is_seen else sys.stderr)
            raise

    def write(self, text: str) -> None:
        """Writes a part of an answer at once."""
        sys.stdout.write(self._safe(text))
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Writes a dim line, which only a person needs."""
        if self.is_seen:
            self._console.print(self._safe(text), style="dim", markup=False, highlight=False, soft_wrap=True)

    def tell(self, text: str) -> None:
        """Writes a line on stderr: what is wrong, or being done."""
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Keeps what was typed last."""
        if self._history is not None:
            self._history.save()

    def _safe(self, text: str) -> str:
        return text.translate(VISIBLE) if self.is_seen else text


class Growing:
    """Writes a text that comes as more and more of it: what is new, once it is certain.

    Args:
      write: takes the parts.
    """

    def __init__(self, write: Callable[[str], object]):
        self._write, self._written = write, ""

    def show(self, text: str) -> None:
        """Writes what is new in the text so far; a character whose last bytes may follow has to wait."""
        certain = INCOMPLETE.sub("", text)
        if certain.startswith(self._written):
            self._add(certain)

    def end(self, text: str) -> None:
        """Writes the rest of the whole text; anew, on a line of its own, if what was written is not its beginning."""
        if not text.startswith(self._written):
            self._write("\n")
            self._written = ""
        self._add(text)

    def _add(self, text: str) -> None:
        if len(text) > len(self._written):
            self._write(text[len(self._written) :])
        self._written = text


class History:
    """What was typed, in a file that sessions share; without a file where none can be written.

    Args:
      readline: the module, or what has its functions.
      path: of the file.
    """

    def __init__(self, readline: Any, path: pathlib.Path):
        self._readline, self._path = readline, path
        readline.set_history_length(MOST_LINES)
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)  # for its owner alone: people type what is theirs
            readline.read_history_file(path)
        self._num_saved = readline.get_current_history_length()

    def save(self) -> None:
        """Adds what is new to the file, so that other sessions keep what they added."""
        num_new = self._readline.get_current_history_length() - self._num_saved
        if num_new > 0:
            with contextlib.suppress(OSError):
                if hasattr(self._readline, "append_history_file"):  # some editline has none
                    self._readline.append_history_file(num_new, self._path)
                else:
                    self._readline.write_history_file(self._path)
            self._num_saved += num_new


def history_path() -> pathlib.Path:
    """Returns where the history is kept. Source: the XDG Base Directory Specification, version 0.8."""
    state = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):
        state = os.path.join(os.path.expanduser("~"), ".local", "state")
    return pathlib.Path(state, "t5x-lite", "history")


def _complete(readline: Any, completions: Callable[[str, str], list[str]]) -> None:
    """Has Tab ask for completions."""

    def nth(word: str, number: int) -> str | None:
        found = completions(readline.get_line_buffer()[: readline.get_begidx()], word)
        return found[number] if number < len(found) else None

    readline.set_completer(nth)
    readline.set_completer_delims(" \t\n")
    is_libedit = "libedit" in (readline.__doc__ or "")  # as on macOS
    readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")
