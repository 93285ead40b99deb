# SPDX-License-Identifier: Apache-2.0
"""Random access to the inputs and targets of a supervised task.

Shape letters: B rows per batch, S encoder tokens, T decoder tokens, E examples.
"""

import copy
import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from t5x_lite.data.converters import Batch
from t5x_lite.data.corpus.open import Corpus, Split
from t5x_lite.data.corpus.shards import Tokens
from t5x_lite.data.examples import Examples
from t5x_lite.data.tokenizers import Tokenizer

if TYPE_CHECKING:
    from t5x_lite.data.dataset import ExampleSpec


def pair_lengths(ends_E2: np.ndarray) -> np.ndarray:
    """Returns the lengths of all inputs and targets, including EOS, from their end offsets: int64 [E, 2]."""
    return np.diff(ends_E2.ravel(), prepend=0).reshape(-1, 2) + 1


@dataclasses.dataclass(eq=False)
class Pairs:
    """The inputs and targets of a supervised task, truncated, ending in EOS, and padded."""

    tokens: Tokens  # ids of alternating inputs and targets, without EOS
    ends_E2: np.ndarray  # int64 end offsets of inputs and targets in `tokens`
    inputs_length: int  # S, including EOS
    targets_length: int  # T, including EOS
    eos_id: int = dataclasses.field(default=1, kw_only=True)
    pad_id: int = dataclasses.field(default=0, kw_only=True)
    seed: int = dataclasses.field(default=0, kw_only=True)

    def __post_init__(self):
        self.kept_E = np.arange(len(self.ends_E2))  # document numbers of the examples

    def __len__(self) -> int:
        return len(self.kept_E)

    def without(self, left_out_E: np.ndarray) -> "Pairs":
        """Returns a copy without the pairs marked True in `left_out_E`."""
        rest = copy.copy(self)
        rest.kept_E = self.kept_E[~left_out_E]
        return rest

    def __call__(self, number_B: np.ndarray, index_B: np.ndarray) -> Batch:
        del index_B  # nothing in a pair is random
        lengths = {"inputs": self.inputs_length, "targets": self.targets_length}
        rows = {feature: np.full((len(number_B), length), self.pad_id, np.int32) for feature, length in lengths.items()}
        for b, pair in enumerate(self.read(number_B)):
            for feature, ids in pair.items():
                rows[feature][b, : len(ids)] = ids
        return rows

    def read(self, number_E: np.ndarray) -> list[dict[str, np.ndarray]]:
        """Returns truncated `inputs` and `targets` of examples, including EOS."""
        number_E = self.kept_E[number_E]
        end_E2 = self.ends_E2[number_E]
        # An example's inputs start where the previous example's targets end.
        begin_E = np.where(number_E > 0, self.ends_E2[number_E - 1, 1], 0)
        pairs = []
        for ids, middle in zip(self.tokens.read(begin_E, end_E2[:, 1]), end_E2[:, 0] - begin_E, strict=True):
            inputs, targets = ids[: min(middle, self.inputs_length - 1)], ids[middle:][: self.targets_length - 1]
            pairs.append({"inputs": np.append(inputs, self.eos_id), "targets": np.append(targets, self.eos_id)})
        return pairs

    def lengths(self) -> np.ndarray:
        """Returns the lengths of all inputs and targets before truncation, including EOS: int64 [E, 2]."""
        return pair_lengths(self.ends_E2)[self.kept_E]

    def too_long(self) -> np.ndarray:
        """Returns which inputs and targets exceed their limit: bool [E, 2]."""
        return np.asarray(self.lengths() > (self.inputs_length, self.targets_length))

    def cut_lengths(self) -> np.ndarray:
        """Returns `lengths` after truncation."""
        return np.minimum(self.lengths(), (self.inputs_length, self.targets_length))


def make_pairs(spec: "ExampleSpec", corpus: Corpus, split: Split, *, held_out: bool) -> Examples:
    """Returns the pairs of a split, packed as the spec says unless they are held out.

    Raises:
      ValueError: if the spec's lengths do not suit them.
    """
    pairs = Pairs(
        split.tokens,
        split.ends_EF,
        spec.inputs_length,
        _targets_length(spec, corpus),
        eos_id=corpus.tokenizer.eos_id,
        pad_id=corpus.tokenizer.pad_id,
        seed=spec.seed,
    )
    if spec.too_long == "error":
        _check_lengths(pairs, corpus.tokenizer)
    if held_out:  # never skipped or packed, so that evaluations stay comparable
        return pairs
    if spec.too_long == "skip":
        pairs = pairs.without(np.asarray(pairs.too_long().any(axis=1)))
    if not len(pairs):
        raise ValueError(
            f"every pair is longer than train.inputs_length {spec.inputs_length} or train.targets_length "
            f"{spec.targets_length}, and data.too_long is skip: raise the lengths, or set data.too_long to cut"
        )
    if spec.packing == "none":
        return pairs
    from t5x_lite.data.packing import PackedPairs

    return PackedPairs(pairs, spec.packing, joined=spec.architecture.keeps_eos)


def _targets_length(spec: "ExampleSpec", corpus: Corpus) -> int:
    """Returns T: `train.targets_length`, or the longest targets for classifiers."""
    asked = spec.targets_length
    sides = [side.ends_EF for side in (corpus.train, corpus.eval) if side.num_documents]
    longest = max(int(np.max(pair_lengths(ends_E2)[:, 1])) for ends_E2 in sides)
    if spec.architecture.labels:
        check_targets_length(spec)
        return longest
    if asked is None:
        raise ValueError(
            "train.targets_length is null, but a task with task.targets needs it: set it; the longest targets have "
            f"{longest} tokens, EOS included"
        )
    return asked


def check_targets_length(spec: "ExampleSpec") -> None:
    """Raises ValueError unless `train.targets_length` is set, or is null for a classifier."""
    asked, architecture = spec.targets_length, spec.architecture
    if architecture.labels and asked is not None:
        raise ValueError(
            f"train.targets_length is {asked}, but model.architecture is {architecture.name}: leave it out"
        )
    if not architecture.labels and asked is None:
        raise ValueError(
            "train.targets_length is null, but a task with task.targets needs it: set it; t5x-lite data stats "
            "recommends a length"
        )


def _check_lengths(pairs: Pairs, tokenizer: Tokenizer) -> None:
    """Raises ValueError if any pair is too long, describing the first one."""
    too_long_E2 = pairs.too_long()
    if not too_long_E2.any():
        return
    number = int(np.argmax(too_long_E2.any(axis=1)))
    (pair,) = pairs.read(np.array([number]))
    side = "inputs" if too_long_E2[number, 0] else "targets"
    length, limit = pairs.lengths()[number, int(side == "targets")], getattr(pairs, f"{side}_length")
    raise ValueError(
        f"{int(too_long_E2.any(axis=1).sum()):,} pairs are too long: the first has {side} of {length} tokens, EOS "
        f"included, but train.{side}_length is {limit}; its inputs begin with "
        f"{tokenizer.decode(pair['inputs'])[:80]!r}: raise it, or set data.too_long to cut or skip"
    )
