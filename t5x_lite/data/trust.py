# SPDX-License-Identifier: Apache-2.0
"""Code that a run directory names: it is imported only if the user names it too, or trusts the directory.

The fields of a task may name Python objects, `package.module:NAME`. Those in an option, or in a config file that the
user names, are the user's own; but a run directory may come from anybody, and importing a module runs it.
"""

import importlib.util
import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from t5x_lite.data.sources.base import HUGGING_FACE, TFDS
from t5x_lite.data.sources.python import OBJECT_PATTERN, is_object
from t5x_lite.files.run_path import run_and_step

OURS = re.compile(r"t5x_lite\.tasks(\.\w+)*")  # modules that are part of every installation
ALWAYS_CODE, SOURCES = ("base", "preprocess"), ("source", "eval_source")


class UntrustedCode(ValueError):
    """A run directory names code that the user has neither named nor trusted."""


def check_trusted(
    task: Mapping[str, Any],
    run_dir: str | os.PathLike[str],
    trust: str | os.PathLike[str] | None,
    *,
    given: str = "",
    instead: str,
    option: str = "add --trust",
) -> None:
    """Raises UntrustedCode if a run's task names code other than t5x_lite's own that the user does not vouch for.

    Code of a package that is not installed cannot run; what needs it says so.

    Args:
      task: fields of the task, as recorded in the run's config.yaml.
      run_dir: the run directory, or one of its checkpoints.
      trust: the run directory whose code is trusted, or one of its checkpoints; None if there is none.
      given: what the user wrote, such as the command line; code that is named in it is the user's own.
      instead: the remedy besides trust, such as "give task.source yourself".
      option: how trust is given, followed by the run directory.
    """
    run_dir = run_and_step(run_dir)[0]
    if trust is not None and os.path.realpath(run_and_step(trust)[0]) == os.path.realpath(run_dir):
        return
    for field, name in code_names(task):
        module = name.partition(":")[0]
        is_given = re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", given)
        if not OURS.fullmatch(module) and not is_given and _is_installed(module.partition(".")[0]):
            raise UntrustedCode(
                f"{run_dir} has {field} {name:.200}, which would import the module {module:.200}: if you trust its "
                f"code, {option} {run_dir}; or {instead}"
            )


def code_names(task: Mapping[str, Any], prefix: str = "task.") -> Iterator[tuple[str, str]]:
    """Yields the fields of a task, and of the tasks of a mixture, that name code, with `package.module:NAME`."""
    for field in (*ALWAYS_CODE, *SOURCES):
        value = task.get(field)
        for name in value if isinstance(value, (list, tuple)) else [value]:
            is_code = OBJECT_PATTERN.fullmatch if field in ALWAYS_CODE else _is_code_of_a_source
            if isinstance(name, str) and is_code(name):
                yield f"{prefix}{field}", name
    mixture = task.get("mixture")
    tasks = mixture.get("tasks") if isinstance(mixture, Mapping) else None
    for name, member in tasks.items() if isinstance(tasks, Mapping) else ():
        if isinstance(member, Mapping):
            yield from code_names(member, f"{prefix}mixture.tasks.{name}.")


def _is_code_of_a_source(name: str) -> bool:
    return not name.startswith((TFDS, HUGGING_FACE)) and is_object(name)


def _is_installed(package: str) -> bool:
    """Returns whether there is a top-level package or module, without importing it."""
    return package in sys.modules or importlib.util.find_spec(package) is not None
