# SPDX-License-Identifier: Apache-2.0
"""Results in the words of the field, with their scale: loss, token accuracy, perplexity, metrics out of 100."""

import datetime
from collections.abc import Mapping

from t5x_lite.evaluation.results import by_task

LABELS = {  # in the order of tables
    "examples": "examples",
    "loss": "loss",
    "loss_text": "loss on text",
    "target_accuracy": "token accuracy",
    "unigram_text": "unigram entropy of text",
    "unigram_labels": "entropy of the labels",
    "perplexity": "perplexity",
}
NATS = "nats per token"
UNITS = {
    "loss": NATS,
    "loss_text": NATS,
    "unigram_text": NATS,
    "unigram_labels": "nats",
    "target_accuracy": "of 1",
    "examples": "",
    "perplexity": "",
}
# Metrics that are not multiplied by 100, by the first part of the names of their results.
OTHER_SCALES = {"auc": "of 1", "score_auc": "of 1", "edit_distance": "", "cased_edit_distance": "", "sklearn": ""}


def unit_of(name: str) -> str:
    """Returns the unit or the scale of a result, given its name without prefix; "" if it has none."""
    if name.endswith("/word_error_rate"):
        return "%"
    if name in UNITS:
        return UNITS[name]
    return OTHER_SCALES.get(name.removeprefix("group_mean/").partition("/")[0], "of 100")


def describe(scalars: Mapping[str, float | int | None]) -> str:
    """Formats the main metrics of a row with units; each task of a mixture has its own line."""
    formats = {
        "loss": "loss {:.3f}",
        "learning_rate": "learning rate {:.3g}",
        "tokens_per_second": "{:,.0f} tokens/s",
        "mfu": "MFU {:.1%}",
        "nonfinite_steps": "{:d} non-finite",
        "spike_steps": "{:d} spikes skipped",
    }
    shown = {name: value for name, value in scalars.items() if value or (name == "learning_rate" and value == 0)}
    texts = [form.format(shown[name]) for name, form in formats.items() if name in shown]
    tasks = {name: _describe_task(results) for name, results in by_task(scalars).items()}
    first = "  ".join([*([f"held-out {tasks['']}"] if tasks[""] else []), *texts])
    width = max(map(len, tasks))
    return "\n".join([first, *(f"    {name:{width}}  {text}" for name, text in tasks.items() if name)])


def _describe_task(results: Mapping[str, float]) -> str:
    """Formats the results of one task: losses in nats per token, metrics with their scale."""
    formats = {
        "loss": "loss {:.3f}",
        "loss_text": "on text {:.3f}",
        "unigram_text": "(unigram entropy {:.3f})",
        "target_accuracy": "token accuracy {:.3f}",
    }
    losses = [form.format(results[name]) for name, form in formats.items() if name in results]
    metrics = (f"{name} {value:.2f} {unit_of(name)}".rstrip() for name, value in results.items() if name not in formats)
    return "  ".join([*losses, *metrics])


def duration(seconds: float) -> str:
    """Formats a time as hours, minutes and seconds."""
    return str(datetime.timedelta(seconds=round(seconds)))
