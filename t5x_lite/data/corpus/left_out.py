# SPDX-License-Identifier: Apache-2.0
"""Says which records a preparation did not use, and why a split has no documents."""

from collections.abc import Sequence

from t5x_lite.config import TaskConfig
from t5x_lite.data.corpus.manifest import Manifest, in_words
from t5x_lite.data.sources import named


def no_documents(task: TaskConfig, manifest: Manifest, splits: Sequence[str]) -> ValueError:
    """Returns the error for prepared splits of which one has no documents, with the reason."""
    train, evaluation = manifest["num_train_documents"], manifest["num_eval_documents"]
    reasons = ", and ".join(left_out(task, manifest)) or "it has no record"
    if "train" not in splits:
        field = "source" if task.eval_source is None else "eval_source"
        if task.eval_source is None:
            reasons = f"task.eval_percent is {task.eval_percent}: use a larger one, more text, or task.eval_source"
        return ValueError(f"task.{field} {in_words(task, (field,))} has no held-out documents: {reasons}")
    if not train + evaluation or task.eval_source is not None:
        field = "eval_source" if train else "source"
        empty = task.eval_source if train and task.eval_source is not None else task.source
        return ValueError(f"task.{field} {named(empty)} has no usable documents: {reasons}")
    return ValueError(
        f"task.eval_percent {task.eval_percent} splits {train + evaluation} documents into {train} for training and "
        f"{evaluation} held out: use another eval_percent, more text, task.text_unit paragraph, or task.eval_source"
    )


def left_out(task: TaskConfig, manifest: Manifest) -> list[str]:
    """Returns a clause on each kind of records that were not used."""
    reasons = []
    if manifest["num_short"]:
        short = f"documents shorter than task.min_characters {task.min_characters}"
        if task.inputs is not None:
            short = "pairs with empty inputs or targets"
        reasons.append(f"left out {manifest['num_short']:,} {short}")
    if manifest["num_skipped"]:
        first = next(message for part in manifest["parts"] for message in part["first_skipped"])
        reasons.append(f"skipped {manifest['num_skipped']:,} bad records or files; the first: {first}")
    return reasons
