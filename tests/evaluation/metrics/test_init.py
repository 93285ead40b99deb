"""Tests t5x_lite/evaluation/metrics/__init__.py, and what holds for every metric."""

import math
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5x_lite.evaluation.metrics import Reference, TargetScore, check_names, measure, reads
from tests.paths import ROOT

OF_TEXTS = (
    "accuracy",
    "cased_edit_distance",
    "coqa_f1",
    "deduplicated_squad",
    "edit_distance",
    "exact_match",
    "f1:yes",
    "matthews",
    "mean_f1",
    "squad",
    "trivia_qa",
)
OF_NUMBERS = ("pearson", "spearman")
WITH_PACKAGES = {"bleu": "sacrebleu", "rouge": "rouge_score", "sklearn:accuracy": "sklearn"}
LISTED = (
    "accuracy, auc[:THRESHOLD], bleu, cased_edit_distance, coqa_f1, deduplicated_squad, edit_distance, exact_match, "
    "f1:POSITIVE_LABEL, group_mean:METRIC, matthews, mean_f1[:LABEL,LABEL...], pearson, "
    "rank_classification[:NUM_CLASSES], rank_classification_by_token[:NUM_CLASSES], rouge, score_auc[:THRESHOLD], "
    "sklearn:FUNCTION, span_squad, spearman, squad, trivia_qa, wsc_accuracy"
)

TEXTS = st.one_of(st.sampled_from(["yes", "no", "", "The cat", "cat", "yes no", "5"]), st.text(max_size=6))


@st.composite
def examples(draw):
    """(prediction, reference); of one group are only examples of one prediction, as of one question."""
    prediction, targets = draw(TEXTS), draw(TEXTS)
    answers = tuple(draw(st.lists(TEXTS, max_size=3)))
    return prediction, Reference(targets, answers, draw(st.sampled_from(["", f"of {prediction!r}"])))


NUMBERS = st.tuples(st.one_of(TEXTS, st.floats().map(str)), st.integers(0, 5).map(lambda n: Reference(str(n))))
# The metrics to ask for, and examples that suit them.
CASES = st.one_of(
    st.tuples(st.just(OF_TEXTS), st.lists(examples(), min_size=1, max_size=9)),
    st.tuples(st.just(OF_NUMBERS), st.lists(NUMBERS, min_size=1, max_size=9)),
)


def measured(names, pairs):
    predictions, references = zip(*pairs, strict=True)
    return measure(names, predictions, references)


@settings(max_examples=50)
@given(CASES, st.randoms(use_true_random=False))
def test_the_order_of_the_examples_changes_nothing(case, random):
    names, pairs = case
    shuffled = random.sample(pairs, len(pairs))
    assert measured(names, shuffled) == pytest.approx(measured(names, pairs), nan_ok=True, abs=1e-9)


@settings(max_examples=50)
@given(CASES)
def test_every_figure_is_a_float_within_its_range(case):
    for name, value in measured(*case).items():
        assert type(value) is float
        if "edit_distance/" in name:
            assert value >= 0 or math.isnan(value)
        elif name in ("matthews", "pearson", "spearman"):
            assert -100 <= value <= 100 or math.isnan(value)
        else:
            assert 0 <= value <= 100


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["yes", "no", "it may be so", "7"]), max_size=8))
def test_perfect_predictions_score_100(targets):
    targets = ["yes", "it may be so", *targets]
    figures = measure(OF_TEXTS, targets, [Reference(text) for text in targets])
    for name, value in figures.items():
        assert value == pytest.approx(0 if "edit_distance/" in name else 100), name
    numbers = [str(len(target)) for target in targets]
    assert measure(OF_NUMBERS, numbers, [Reference(text) for text in numbers]) == pytest.approx(
        {"pearson": 100, "spearman": 100}
    )


def test_figures_are_flat_and_in_the_order_of_the_names():
    figures = measure(["squad", "f1:a b", "accuracy", "f1:c:d"], ["a b", "x"], [Reference("a b"), Reference("c:d")])
    assert list(figures) == ["squad/em", "squad/f1", "f1/a b", "accuracy", "f1/c:d"]
    assert figures == pytest.approx({"squad/em": 50, "squad/f1": 50, "f1/a b": 200 / 3, "accuracy": 50, "f1/c:d": 0})


@pytest.mark.parametrize("name", [*OF_TEXTS, *OF_NUMBERS])
def test_results_are_named_after_their_metric(name):
    figures = measure([name], ["1", "2", "4"], [Reference("1"), Reference("2"), Reference("3")])
    assert figures
    assert all(figure == name or figure.startswith(f"{name.partition(':')[0]}/") for figure in figures)


@pytest.mark.parametrize(("name", "figures"), [("bleu", ["bleu"]), ("rouge", ["rouge1", "rouge2", "rougeLsum"])])
def test_metrics_with_a_package_have_these_results(name, figures):
    pytest.importorskip(WITH_PACKAGES[name], reason="comes with the extra eval")
    check_names([name])
    assert list(measure([name], ["a b c d"], [Reference("a b c d")])) == figures


def test_no_metrics_have_no_results():
    assert measure([], ["a"], [Reference("b")]) == {}


@pytest.mark.parametrize("check", [check_names, lambda names: measure(names, ["a"], [Reference("a")])])
@pytest.mark.parametrize("name", ["acuracy", "sequence_accuracy", "", "Accuracy", "f2:yes", "squad/em"])
def test_an_unknown_name_is_refused_with_the_known_ones(check, name):
    known = rf"use one of {re.escape(LISTED)}(; did you mean [a-z_]+.)?$"
    with pytest.raises(ValueError, match=rf"task.metrics has '{name}', which is not a metric: {known}"):
        check(["accuracy", name])


# t5/evaluation/metrics_test.py, test_mean_group_metric
def test_the_mean_of_groups_is_the_published_one():
    references = [Reference("0", group="a"), Reference("1", group="a"), Reference("0", group="b")]
    assert measure(["group_mean:accuracy"], ["0", "0", "1"], references) == {"group_mean/accuracy": 25}


def test_a_metric_of_groups_keeps_its_argument_and_its_own_name():
    references = [Reference("yes", group="a"), Reference("no", group="a"), Reference("yes", group="b")]
    figures = measure(["group_mean:f1:yes", "f1:yes"], ["yes", "yes", "yes"], references)
    assert figures == pytest.approx({"group_mean/f1/yes": 100 * (2 / 3 + 1) / 2, "f1/yes": 80})
    scored = measure(["group_mean:score_auc"], [], [Reference("1"), Reference("0")], [TargetScore(-1.0, 2)] * 2)
    assert math.isnan(scored["group_mean/score_auc/roc"])
    with pytest.raises(ValueError, match="'group_mean:f2', which is not a metric"):
        check_names(["group_mean:f2"])


def test_a_value_that_some_groups_lack_is_averaged_over_the_others():
    # With two right choices, or none, a question has no class.
    right = {"a": (True, False), "b": (True, True), "c": (False, True)}
    references = [Reference("x", group=name, is_correct=value) for name, pair in right.items() for value in pair]
    scores = [TargetScore(value, 1) for value in (-1.0, -2.0, -1.0, -2.0, -2.0, -1.0)]
    figures = measure(["group_mean:rank_classification:2"], [], references, scores)
    assert figures["group_mean/rank_classification/accuracy"] == 100
    assert figures["group_mean/rank_classification/f1"] == 50  # 0 of "a", where no class is positive, and 100 of "c"


def test_what_metrics_read_is_known_and_required():
    assert reads(["accuracy", "squad"]) == {"predictions"}
    assert reads(["score_auc:0.5", "rank_classification:2"]) == {"scores"}
    assert reads(["auc", "group_mean:rank_classification_by_token"]) == {"predictions", "scores"}
    assert reads([]) == set()
    with pytest.raises(ValueError, match="0 scores and 1 references"):
        measure(["score_auc"], ["1"], [Reference("1")])


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("auc:high", r"auc\[:THRESHOLD\]"),
        ("score_auc:", r"score_auc\[:THRESHOLD\]"),
        ("rank_classification:two", r"rank_classification\[:NUM_CLASSES\]"),
        ("mean_f1:", r"mean_f1\[:LABEL,LABEL...\]"),
        ("group_mean:auc:x", r"auc\[:THRESHOLD\]"),
    ],
)
def test_a_wrong_argument_is_refused_with_the_right_form(name, usage):
    with pytest.raises(ValueError, match=rf"has '{name}', .*: write {usage}$"):
        check_names([name])


def test_an_argument_in_brackets_may_be_left_out():
    check_names(["auc", "auc:0", "auc:-1.5", "mean_f1", "mean_f1:a,b", "rank_classification", "rank_classification:3"])


@pytest.mark.parametrize("name", ["f1", "f1:"])
def test_a_missing_argument_is_refused(name):
    with pytest.raises(ValueError, match=rf"has '{name}', which needs an argument: write f1:POSITIVE_LABEL"):
        check_names([name])


@pytest.mark.parametrize("name", ["accuracy:yes", "squad:"])
def test_an_unexpected_argument_is_refused(name):
    alone = name.partition(":")[0]
    with pytest.raises(ValueError, match=rf"task.metrics has '{name}', but {alone} takes no argument: write {alone}"):
        check_names([name])


@pytest.mark.parametrize(("name", "package"), WITH_PACKAGES.items())
def test_a_missing_package_is_named_with_its_extra(monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    message = rf"task.metrics has '{name}', which needs the package {package}: pip install 't5x-lite\[eval\]'"
    with pytest.raises(ValueError, match=message):
        check_names(["accuracy", name])
    with pytest.raises(ValueError, match=message):
        measure([name], ["a"], [Reference("a")])


def test_importing_checking_and_measuring_text_is_cheap():
    program = (
        "import sys; from t5x_lite.evaluation.metrics import Reference, TargetScore, check_names, measure, reads; "
        "check_names(['squad']); measure(['accuracy', 'squad'], ['1'], [Reference('1')]); "
        "print([name for name in ('sacrebleu', 'rouge_score', 'scipy', 'jax') if name in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert finished.stdout == "[]\n"


def test_no_examples_are_refused():
    with pytest.raises(ValueError, match=r"there are no examples to compute task.metrics on"):
        measure(["accuracy"], [], [])


def test_unequal_numbers_of_predictions_and_references_are_refused():
    with pytest.raises(ValueError, match="2 predictions and 3 references: pass one of each"):
        measure(["accuracy"], ["a", "b"], [Reference("a")] * 3)
