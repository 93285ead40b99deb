# SPDX-License-Identifier: Apache-2.0
"""Translations and summaries: BLEU by sacrebleu and ROUGE by rouge-score, as T5 calls them.

The packages come with the extra `eval` and are imported when a metric is asked for.

Source: T5 `bleu` and `rouge` in `t5/evaluation/metrics.py`.
"""

from collections.abc import Sequence
from statistics import fmean

from t5x_lite.evaluation.metrics.reference import Reference

ROUGE_TYPES = ("rouge1", "rouge2", "rougeLsum")


def bleu(predictions: Sequence[str], references: Sequence[Reference]) -> dict[str, float]:
    """BLEU of the whole set, 0 to 100, with sacrebleu's international tokenizer; all accepted texts are references."""
    import sacrebleu

    num_streams = max(len(reference.accepted) for reference in references)
    streams = [[_nth(reference.accepted, n) for reference in references] for n in range(num_streams)]
    score = sacrebleu.corpus_bleu(
        predictions,
        streams,  # pyright: ignore[reportArgumentType] - None, for no reference, is missing in its annotation
        smooth_method="exp",
        lowercase=False,
        tokenize="intl",
        use_effective_order=False,
        force=True,  # changes no score; else each evaluation warns of predictions that end in " ."
    )
    return {"bleu": score.score}


def rouge(predictions: Sequence[str], references: Sequence[Reference]) -> dict[str, float]:
    """ROUGE-1, ROUGE-2 and ROUGE-Lsum, F-measures in percent: rouge1, rouge2, rougeLsum.

    No stemming. Of several accepted texts the best counts, for each of the three. For Lsum, a line is a sentence, and
    " . " ends one too. Only ASCII letters and digits count, as rouge-score has it: the ROUGE of Chinese is 0.

    The score is the mean over the examples. T5's is the median of 1,000 means of random resamples: it differs from one
    call to the next, and from ours by about a tenth of a point on 100 examples, a hundredth on 10,000.
    """
    from rouge_score import rouge_scorer

    scorer = rouge_scorer.RougeScorer(ROUGE_TYPES)
    scores = [
        scorer.score_multi([_lines(text) for text in reference.accepted], _lines(prediction))
        for prediction, reference in zip(predictions, references, strict=True)
    ]
    return {name: 100 * fmean(score[name].fmeasure for score in scores) for name in ROUGE_TYPES}


def _nth(texts: Sequence[str], n: int) -> str | None:
    return texts[n] if n < len(texts) else None


def _lines(summary: str) -> str:
    return summary.replace(" . ", " .\n")
