# SPDX-License-Identifier: Apache-2.0
"""Whether the options of a command name a task: the default text is nothing that anybody asked to be measured."""

import contextlib
import os
import tempfile
from collections.abc import Iterator

from jsonargparse import Namespace

NAMED = "--task.source docstrings is the text of the installed packages"


def check_evaluated(given: Namespace) -> None:
    """Raises ValueError unless the options of `eval`, without defaults, name a task; those of a run's config count."""
    if _names_task(given) or not os.path.exists(given.checkpoint):  # of which `load` will say more
        return
    if "config" in given:
        raise ValueError(
            "--config names no task: add a section task to it; or leave --config out to evaluate a run's own task, and "
            "give its other fields as options"
        )
    raise ValueError(
        f"--checkpoint {given.checkpoint} is not a run directory, so it has no task of its own: name one with "
        f"--config FILE, --task.base or --task.source; {NAMED}"
    )


@contextlib.contextmanager
def data_options(options: Namespace, given: Namespace) -> Iterator[None]:
    """Gives the options of a `data` command a temporary directory for `run_dir` if it is null.

    Raises ValueError unless those `given`, without defaults, name a task.
    """
    if not _names_task(given):
        raise ValueError(f"no task is named: use --config FILE, --task.base or --task.source; {NAMED}")
    if options.run_dir is not None:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="t5x_lite_data_") as directory:
        options.run_dir = directory
        yield


def _names_task(given: Namespace) -> bool:
    """Returns whether any field of a task but its tokenizer is given."""
    return bool(vars(given.get("task") or Namespace()).keys() - {"tokenizer"})
