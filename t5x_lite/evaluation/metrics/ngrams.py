# SPDX-License-Identifier: Apache-2.0
"""BLEU and ROUGE for translation and summarisation, computed by sacrebleu and rouge-score as in T5.

Both packages come with the `eval` extra and are imported on first use.

Source: T5 `bleu` and `rouge` in `t5/evaluation/metrics.py`.
"""

import itertools
from collections.abc import Sequence
from statistics import fmean

from t5x_lite.evaluation.metrics.reference import Reference

ROUGE_TYPES = ("rouge1", "rouge2", "rougeLsum")


def bleu(predictions: Sequence[str], references: Sequence[Reference]) -> dict[str, float]:
    """Corpus BLEU, 0 to 100, with sacrebleu's international tokenizer and all accepted texts as references."""
    import sacrebleu

    streams = [list(stream) for stream in itertools.zip_longest(*(reference.accepted for reference in references))]
    score = sacrebleu.corpus_bleu(
        predictions,
        streams,  # pyright: ignore[reportArgumentType] - None, for no reference, is missing from its annotation
        smooth_method="exp",
        lowercase=False,
        tokenize="intl",
        use_effective_order=False,
        force=True,  # silences a warning about predictions ending in " ."; changes no score
    )
    return {"bleu": score.score}


def rouge(predictions: Sequence[str], references: Sequence[Reference]) -> dict[str, float]:
    """ROUGE-1, ROUGE-2 and ROUGE-Lsum F-measures, in percent: rouge1, rouge2, rougeLsum.

    There is no stemming, and each measure takes its best accepted text. For Lsum, line breaks and " . " end sentences.
    rouge-score reads only ASCII letters and digits, so that Chinese text scores 0.

    The score is the mean over examples. T5's is the median of 1,000 bootstrap means, which varies from call to call and
    differs from ours by about 0.1 on 100 examples and 0.01 on 10,000.
    """
    from rouge_score import rouge_scorer

    scorer = rouge_scorer.RougeScorer(ROUGE_TYPES)
    scores = [
        scorer.score_multi([_lines(text) for text in reference.accepted], _lines(prediction))
        for prediction, reference in zip(predictions, references, strict=True)
    ]
    return {name: 100 * fmean(score[name].fmeasure for score in scores) for name in ROUGE_TYPES}


def _lines(summary: str) -> str:
    return summary.replace(" . ", " .\n")
