# SPDX-License-Identifier: Apache-2.0
"""GLUE as text: `cola sentence: John made Bill master of himself.` -> `acceptable`.

T5 uses version 1.0.0, which TFDS has replaced by 2.0.0: according to its notes, QQP moved to another host.

Source: T5 `glue_utils.py`, `preprocessors.py`; the classes are TFDS's.
"""

import dataclasses

import numpy as np

from t5x_lite.config import TaskConfig
from t5x_lite.data.records.templates import Template
from t5x_lite.data.sources.base import Record
from t5x_lite.tasks.formats import Classification, from_tfds, take

VERSION = "2.0.0"
ENTAILMENT = ("entailment", "not_entailment")
STEPS_PER_UNIT = 5  # STS-B's similarities, 0 to 5, are rounded to multiples of 0.2

cola = Classification("cola sentence: {sentence}", ("unacceptable", "acceptable"))
sst2 = Classification("sst2 sentence: {sentence}", ("negative", "positive"))
mrpc = Classification("mrpc sentence1: {sentence1} sentence2: {sentence2}", ("not_equivalent", "equivalent"))
qqp = Classification("qqp question1: {question1} question2: {question2}", ("not_duplicate", "duplicate"))
mnli = Classification("mnli hypothesis: {hypothesis} premise: {premise}", ("entailment", "neutral", "contradiction"))
qnli = Classification("qnli question: {question} sentence: {sentence}", ENTAILMENT)
rte = Classification("rte sentence1: {sentence1} sentence2: {sentence2}", ENTAILMENT)
wnli = Classification("wnli sentence1: {sentence1} sentence2: {sentence2}", ("not_entailment", "entailment"))
_STSB_INPUTS = Template("stsb sentence1: {sentence1} sentence2: {sentence2}", "T5's format")


def stsb(record: Record) -> Record:
    """Formats a pair of sentences, with their similarity rounded to the nearest 0.2.

    Source: T5 `preprocessors.stsb`.
    """
    # Half to even in float32, as in T5: the float32 label 0.1 becomes 0.0; in float64 it would become 0.2.
    similarity = np.float32(take(record, "label", float, int))
    rounded = np.round(similarity * STEPS_PER_UNIT) / STEPS_PER_UNIT
    return {"inputs": _STSB_INPUTS(record, "a record"), "targets": f"{rounded:.1f}"}


def _task(name: str, *metrics: str) -> TaskConfig:
    return from_tfds(f"glue/{name}:{VERSION}", preprocess=f"{__name__}:{name}", metrics=metrics)


COLA = _task("cola", "matthews")
SST2 = _task("sst2", "accuracy")
MRPC = _task("mrpc", "f1:equivalent", "accuracy")
QQP = _task("qqp", "f1:duplicate", "accuracy")
STSB = _task("stsb", "pearson", "spearman")
QNLI = _task("qnli", "accuracy")
RTE = _task("rte", "accuracy")
WNLI = _task("wnli", "accuracy")

_MNLI = f"glue/mnli:{VERSION}"
MNLI_MATCHED, MNLI_MISMATCHED = (
    from_tfds(_MNLI, preprocess=f"{__name__}:mnli", metrics=("accuracy",), splits=("train", held_out))
    for held_out in ("validation_matched", "validation_mismatched")
)
# GLUE's diagnostic set has neither training data nor public labels: T5 reads it as MNLI, without metrics.
AX = dataclasses.replace(MNLI_MATCHED, eval_source=f"tfds:glue/ax:{VERSION}@test", metrics=())
