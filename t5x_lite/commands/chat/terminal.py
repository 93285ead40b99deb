# SPDX-License-Identifier: Apache-2.0
"""Terminal input with history and completion, and streamed output."""

import contextlib
import os
import pathlib
import re
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console

from t5x_lite.data.sources.lines import piped_lines

PROMPT = "> "
MAX_HISTORY_LINES = 1_000
# Placeholders of an incomplete UTF-8 character; ByT5 encodes sentinels as bytes too.
INCOMPLETE = re.compile(r"(?:\ufffd|<extra_id_\d+>){1,3}\Z")
# Symbols for control characters, which could move the cursor or worse; newlines and tabs are kept.
VISIBLE = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {0x7F: 0x2421}
VISIBLE |= dict.fromkeys(range(128, 160), 65533)


class Terminal:
    """Reads lines and writes answers, in a terminal or through pipes; a pipe receives only the answers.

    Args:
      completions: returns the completions of a line's last word, given the line before it and the word.
    """

    def __init__(self, completions: Callable[[str, str], list[str]]):
        self.is_typed, self.is_seen = sys.stdin.isatty(), sys.stdout.isatty()
        self._console = Console(file=sys.stdout)
        self._history: History | None = None
        self._piped = piped_lines(sys.stdin)  # unless typed
        if self.is_typed:
            # Typing an invalid UTF-8 byte must not end the session.
            sys.stdin.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
        if self.is_typed and self.is_seen:
            with contextlib.suppress(ImportError):  # not available on Windows
                import readline

                _complete(readline, completions)
                self._history = History(readline, history_path())

    def read(self) -> str:
        """Returns the next line without its newline; raises EOFError at the end of the input."""
        if not self.is_typed:
            line, _ = next(self._piped, (None, ""))
            if line is None:
                raise EOFError
            return line
        if self._history is not None:
            self._history.save()
        if not self.is_seen:
            print(PROMPT, end="", file=sys.stderr, flush=True)
        try:
            return input(PROMPT if self.is_seen else "")
        except EOFError:
            print(file=sys.stdout if self.is_seen else sys.stderr)  # so that the shell prompt starts on a new line
            raise

    def write(self, text: str) -> None:
        """Writes a part of an answer and flushes it."""
        sys.stdout.write(self._safe(text))
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Writes a dimmed line if stdout is a terminal."""
        if self.is_seen:
            self._console.print(self._safe(text), style="dim", markup=False, highlight=False, soft_wrap=True)

    def error(self, text: str) -> None:
        """Writes a line to stderr."""
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Saves the history."""
        if self._history is not None:
            self._history.save()

    def _safe(self, text: str) -> str:
        return text.translate(VISIBLE) if self.is_seen else text


class Growing:
    """Writes a text as it grows, each time only the part that is new and final."""

    def __init__(self, write: Callable[[str], object]):
        self._write, self._written = write, ""

    def show(self, text: str) -> None:
        """Writes the new part of the text so far, except for an incomplete last character."""
        final = INCOMPLETE.sub("", text)
        if final.startswith(self._written):
            self._add(final)

    def end(self, text: str) -> None:
        """Writes the rest of the text, or all of it on a new line if its start has changed."""
        if not text.startswith(self._written):
            self._write("\n")
            self._written = ""
        self._add(text)

    def _add(self, text: str) -> None:
        if len(text) > len(self._written):
            self._write(text[len(self._written) :])
        self._written = text


class History:
    """The input history, in a file shared by all sessions; not saved if the file is not writable."""

    def __init__(self, readline: Any, path: pathlib.Path):
        self._readline, self._path = readline, path
        readline.set_history_length(MAX_HISTORY_LINES)
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)  # private to its owner
            readline.read_history_file(path)
        self._num_saved = readline.get_current_history_length()

    def save(self) -> None:
        """Appends new lines to the file, keeping those of other sessions."""
        num_new = self._readline.get_current_history_length() - self._num_saved
        if num_new > 0:
            with contextlib.suppress(OSError):
                if hasattr(self._readline, "append_history_file"):  # missing from some versions of editline
                    self._readline.append_history_file(num_new, self._path)
                else:
                    self._readline.write_history_file(self._path)
            self._num_saved += num_new


def history_path() -> pathlib.Path:
    """Returns the path of the history file. Source: the XDG Base Directory Specification, version 0.8."""
    state = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):
        state = os.path.join(os.path.expanduser("~"), ".local", "state")
    return pathlib.Path(state, "t5x-lite", "history")


def _complete(readline: Any, completions: Callable[[str, str], list[str]]) -> None:
    def nth(word: str, number: int) -> str | None:
        matches = completions(readline.get_line_buffer()[: readline.get_begidx()], word)
        return matches[number] if number < len(matches) else None

    readline.set_completer(nth)
    readline.set_completer_delims(" \t\n")
    is_libedit = "libedit" in (readline.__doc__ or "")  # as on macOS
    readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")
