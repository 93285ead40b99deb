# SPDX-License-Identifier: Apache-2.0
"""Feature converters of classifiers, which turn a task's targets into class indices.

Shape letters: B rows per batch, S input tokens, T target tokens, V vocabulary.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from t5x_lite.config import TaskConfig
from t5x_lite.config.architectures import Architecture
from t5x_lite.data.converters import Converter, mismatch
from t5x_lite.data.examples import Examples
from t5x_lite.data.tokenizers import Tokenizer

CHECKED_EXAMPLES = 20_000  # evenly spaced, per split of a classifier's task


def label_converter(architecture: Architecture, tasks: Mapping[str, TaskConfig], tokenizer: Tokenizer) -> Converter:
    """Returns the converter of a sequence or token classifier."""
    for task in tasks.values():
        if task.inputs is None and task.prepared is None:
            raise mismatch(architecture, "task.inputs", None, "give task.inputs, task.targets and task.labels")
    kind = SequenceLabels if architecture.traits.labels_per == "sequence" else TokenLabels
    return kind(labels_of(tasks), tokenizer)


def labels_of(tasks: Mapping[str, TaskConfig]) -> tuple[str, ...]:
    """Returns the tasks' labels in the order of their class indices; raises ValueError if missing or different."""
    labels = {name: task.labels or tuple(dict.fromkeys((task.choices or {}).values())) for name, task in tasks.items()}
    (first, expected), *_ = labels.items()
    for name, names in labels.items():
        if len(names) < 2:
            where = f" of {name}" if name else ""
            raise ValueError(
                f"task.labels{where} is null, but a classifier needs labels to choose from: list the words that "
                "task.targets can be"
            )
        if names != expected:
            raise ValueError(f"task.labels of {name} and of {first} differ: a classifier has one list")
    return expected


class Words:
    """Finds the whitespace-separated words in rows of ids."""

    def __init__(self, tokenizer: Tokenizer):
        surfaces = tokenizer.surfaces()
        self._is_text_V = np.array([bool(text.strip()) for text in surfaces])
        self._after_space_V = np.array([text[:1].isspace() for text in surfaces])
        self._before_space_V = np.array([text[-1:].isspace() for text in surfaces])

    def starts(self, ids_BS: np.ndarray) -> np.ndarray:
        """Returns whether each id starts a word, bool [B, S]; padding and EOS do not."""
        is_text_BS = self._is_text_V[ids_BS]
        follows_space_BS = np.ones_like(is_text_BS)  # always true for the first id of a row
        follows_space_BS[:, 1:] = self._before_space_V[ids_BS[:, :-1]]
        return is_text_BS & (follows_space_BS | self._after_space_V[ids_BS])

    def split(self, ids_BS: np.ndarray) -> Iterator[list[tuple[int, ...]]]:
        """Yields the words of each row, as ids, dropping whitespace-only tokens."""
        for ids_S, starts_S in zip(ids_BS, self.starts(ids_BS), strict=True):
            ids_S = np.where(self._is_text_V[ids_S], ids_S, -1)
            yield [tuple(word[word >= 0].tolist()) for word in np.split(ids_S, np.flatnonzero(starts_S))[1:]]


class SequenceLabels:
    """The converter of a `SequenceClassifier`, with one label per row.

    Raises:
      ValueError: if two labels have the same ids.
    """

    def __init__(self, labels: Sequence[str], tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        ids = [tuple(tokenizer.encode(label)) for label in labels]
        self._number = _numbered(labels, ids)
        self.targets_length = max(map(len, ids)) + 1

    def __call__(self, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns `encoder_input_tokens` [B, S], and `target_labels` and `label_weights`, both [B, 1]."""
        numbers = []
        for ids_T in rows["targets"]:
            ids = tuple(ids_T[: np.count_nonzero(ids_T != self._tokenizer.pad_id) - 1].tolist())  # without EOS
            if ids not in self._number:
                raise _unknown(self._tokenizer.decode(ids), self._number)
            numbers.append(self._number[ids])
        labels_B1 = np.asarray(numbers, np.int32)[:, None]
        return {
            "encoder_input_tokens": rows["inputs"],
            "target_labels": labels_B1,
            "label_weights": np.ones_like(labels_B1),
        }


class TokenLabels:
    """The converter of a `TokenClassifier`, with one label per word of the inputs, at its first token.

    Raises:
      ValueError: if a label is not a single word, or two labels have the same ids.
    """

    def __init__(self, labels: Sequence[str], tokenizer: Tokenizer):
        self._tokenizer, self._words = tokenizer, Words(tokenizer)
        words = [next(self._words.split(np.asarray([tokenizer.encode(label)], np.int32))) for label in labels]
        for label, parts in zip(labels, words, strict=True):
            if len(parts) != 1:
                raise ValueError(
                    f"task.labels has {label!r}, but model.architecture token_classifier needs single words"
                )
        self._number = _numbered(labels, [parts[0] for parts in words])

    def __call__(self, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns `encoder_input_tokens`, `target_labels` and `label_weights`, all [B, S]."""
        inputs_BS = rows["inputs"]
        weights_BS = self._words.starts(inputs_BS).astype(np.int32)
        labels_BS = np.zeros_like(inputs_BS)
        for b, words in enumerate(self._words.split(rows["targets"])):
            places = np.flatnonzero(weights_BS[b])
            is_truncated = inputs_BS[b, -1] != self._tokenizer.pad_id  # so it may have fewer words than labels
            if len(words) != len(places) and not (is_truncated and len(words) > len(places)):
                begin = self._tokenizer.decode(inputs_BS[b])[:80]
                raise ValueError(
                    f"the inputs that begin with {begin!r} have {len(places)} words but {len(words)} labels: give each "
                    "word one label in task.targets"
                )
            for place, word in zip(places, words, strict=False):
                if word not in self._number:
                    raise _unknown(self._tokenizer.decode(word), self._number)
                labels_BS[b, place] = self._number[word]
        return {"encoder_input_tokens": inputs_BS, "target_labels": labels_BS, "label_weights": weights_BS}


def _numbered(labels: Sequence[str], ids: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], int]:
    numbers = {word: number for number, word in enumerate(ids)}
    for number, word in enumerate(ids):
        if numbers[word] != number:
            raise ValueError(
                f"task.labels has {labels[number]!r} and {labels[numbers[word]]!r}, which encode to the same ids: use "
                "other words"
            )
    return numbers


def _unknown(label: str, known: Mapping[tuple[int, ...], int]) -> ValueError:
    return ValueError(f"the targets {label[:80]!r} are not among the {len(known)} task.labels: add them")


def check_labels(examples: Examples, convert: Converter) -> None:
    """Raises ValueError, before training, if any targets are not labels."""
    count = min(len(examples), CHECKED_EXAMPLES)
    numbers = np.arange(count) * len(examples) // count
    for some in np.array_split(numbers, -(-count // 1_000)):
        convert(examples(some, some))
