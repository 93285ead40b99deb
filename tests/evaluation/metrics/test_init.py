"""Tests t5x_lite/evaluation/metrics/__init__.py, and what holds for every metric."""

import math
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5x_lite.evaluation.metrics import Reference, check_names, measure
from tests.paths import ROOT

OF_TEXTS = (
    "accuracy",
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
WITH_PACKAGES = {"bleu": "sacrebleu", "rouge": "rouge_score"}
LISTED = (
    "accuracy, bleu, deduplicated_squad, edit_distance, exact_match, f1:POSITIVE_LABEL, matthews, mean_f1, pearson, "
    "rouge, spearman, squad, trivia_qa"
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
        if name.startswith("edit_distance/"):
            assert value >= 0 or math.isnan(value)
        elif name in ("matthews", "pearson", "spearman"):
            assert -100 <= value <= 100 or math.isnan(value)
        else:
            assert 0 <= value <= 100 or (name == "f1/yes" and math.isnan(value))


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["yes", "no", "it may be so", "7"]), max_size=8))
def test_perfect_predictions_score_100(targets):
    targets = ["yes", "it may be so", *targets]
    figures = measure(OF_TEXTS, targets, [Reference(text) for text in targets])
    for name, value in figures.items():
        assert value == pytest.approx(0 if name.startswith("edit_distance/") else 100), name
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
    with pytest.raises(ValueError, match=rf"task.metrics has '{name}', which is not a metric: use one of {LISTED}$"):
        check(["accuracy", name])


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
        "import sys; from t5x_lite.evaluation.metrics import Reference, check_names, measure; "
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
