# SPDX-License-Identifier: Apache-2.0
"""Tokenises portions in several processes."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context

from t5x_lite.data.corpus.manifest import Part
from t5x_lite.data.corpus.tokenize import Portion, PortionTokenizer, Preparation


def tokenized(
    preparation: Preparation, portions: Sequence[Portion], num_workers: int, stack: ExitStack
) -> Iterator[Part]:
    """Yields the parts of portions in order; closing `stack` ends the worker processes."""
    pool = ProcessPoolExecutor(num_workers, get_context("spawn"), initializer=_start, initargs=(preparation,))
    stack.callback(pool.shutdown, cancel_futures=True)
    return pool.map(_tokenize, portions)


_tokenizer: PortionTokenizer | None = None  # in each worker process


def _start(preparation: Preparation) -> None:
    global _tokenizer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process shuts the workers down
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _tokenizer = PortionTokenizer(preparation)


def _end_with_parent() -> None:
    """Ends a worker whose parent was killed, so that it writes nothing once the parent's lock is free."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _tokenize(portion: Portion) -> Part:
    assert _tokenizer is not None
    return _tokenizer.tokenize(portion)
