"""Tests t5x_lite/commands/data_stats/table.py"""

import dataclasses

import pytest

from t5x_lite.commands.data_stats.findings import Batches, Making, Side, Statistics, Task
from t5x_lite.commands.data_stats.lengths import PACKED_PAIRS, QUANTILES, Candidate, Cut, Lengths, Padding
from t5x_lite.commands.data_stats.table import print_tables


def make_side(scale, **changes):
    quantiles = {name: scale * (i + 1) for i, name in enumerate(QUANTILES)}
    found = Side(
        num_examples=scale * 1_000,
        num_characters=scale * 41_000,
        num_characters_is_estimate=False,
        num_tokens=scale * 11_000,
        characters_per_token=3.727,
        bytes_per_token=3.911,
        unknown_share=0.00432,
        lengths={"inputs": Lengths(46.6, quantiles), "targets": Lengths(9.4, quantiles)},
        cut={"inputs": Cut(512, scale * 50, scale * 1_700), "targets": Cut(64, 0, 0)},
        num_rows=scale * 700,
        padding={"unpacked": Padding(scale * 1_000, 0.811, 0.722, 0.789)},
    )
    return dataclasses.replace(found, **changes)


def make_task(**changes):
    found = Task(
        source="somewhere.csv",
        what="pairs",
        objective=None,
        chunk_lengths=[],
        inputs_length=512,
        targets_length=64,
        train=make_side(7),
        eval=make_side(2),
        num_short=0,
        num_skipped=0,
        first_skipped=None,
        rate=0.375,
        num_steps_per_epoch=54.44,
        num_epochs=2.25,
        targets_lengths=[
            Candidate(56, 8, Padding(901, 0.111, 0.122, 0.133)),
            Candidate(80, 3, Padding(902, 0.06, 0.05, 0.055)),
        ],
        recommended_targets_length=80,
        making=Making(0.25, 1.5, 2.75),
        batches=Batches(
            num_batches=8,
            padding=Padding(1_024, 0.1, 0.2, 0.15),
            seconds=2.0,
            examples_per_second=1_234.5,
            tokens_per_second=98_765.4,
        ),
    )
    return dataclasses.replace(found, **changes)


@pytest.fixture
def printed(capsys):
    """What a person reads: lines, runs of spaces made one."""

    def run(*tasks, **changes):
        found = Statistics(
            inputs_length=512,
            targets_length=64,
            targets_length_is_recommended=False,
            batch_size=128,
            packing="none",
            num_steps=122,
            tasks=dict(zip(("first", "second"), tasks, strict=False)),
            num_rows=8_765,
            num_steps_per_epoch=68.5,
            batches=tasks[0].batches,
            vocabulary_s=None,
            checking_s=0.125,
        )
        capsys.readouterr()
        print_tables(dataclasses.replace(found, **changes))
        return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]

    return run


def test_each_number_stands_beside_its_name(printed):
    lines = printed(make_task())
    for line in (
        "== first: somewhere.csv",
        "pairs 7,000 2,000",
        "characters 287,000 82,000",
        "tokens 77,000 22,000",
        "characters a token 3.73 3.73",
        "bytes a token 3.91 3.91",
        "unknown tokens, of a sample 0.432% 0.432%",
        "rows of an epoch 4,900 1,400",
        "tokens min 5% 25% 50% 75% 95% 99% max mean",
        "train inputs 7 14 21 28 35 42 49 56 47",
        "held-out targets 2 4 6 8 10 12 14 16 9",
        "cut off longer than examples of them tokens lost",
        "train inputs 512 350 5.0% 11,900",
        "held-out targets 64 0 0.0% 0",
        "padding at 512 + 64 rows of inputs of targets of both",
        "train unpacked 7,000 81.1% 72.2% 78.9%",
        "56 901 11.1% 12.2% 13.3% 8",
        "80 * 902 6.0% 5.0% 5.5% 3",
    ):
        assert line in lines


def test_what_the_numbers_mean_is_said_in_words(printed):
    text = "\n".join(printed(make_task()))
    assert "train.inputs_length 512, train.targets_length 80 has the least padding, 5.5%, of those that cut 1%" in text
    assert "in 54.4 steps of 128 rows, and 2.2 times in train.num_steps 122" in text
    assert "opening the source 0.25 s, reading it 1.50 s (from a part), tokenising and writing 2.75 s" in text
    assert "1,234 examples and 98,765 tokens a second in one process, over 8" in text
    assert "its checksums compared, 0.12 s" in text
    for absent in ("Left out", "Skipped", "Rate", "null", "All tasks", "vocabulary"):
        assert absent not in text


def test_estimates_are_called_so(printed):
    estimated = make_side(7, num_characters_is_estimate=True)
    assert "characters about 287,000 82,000" in printed(make_task(train=estimated))


def test_what_is_missing_from_the_text_is_told(printed):
    text = "\n".join(printed(make_task(num_short=1_300, num_skipped=2, first_skipped="a.csv line 3 is broken")))
    assert "Left out: 1,300 pairs with empty inputs or targets." in text
    assert "Skipped: 2 bad records or files. The first: a.csv line 3 is broken" in text


def test_text_has_chunks_and_neither_cuts_nor_recommendations(printed):
    of_text = {"lengths": {"documents": make_side(1).lengths["inputs"]}, "cut": {}}
    task = make_task(
        what="documents",
        objective="ul2",
        chunk_lengths=[1_200, 900, 1_000],
        train=make_side(7, **of_text),
        eval=make_side(2, **of_text),
        targets_lengths=[],
        recommended_targets_length=None,
        num_short=5,
    )
    text = "\n".join(printed(task))
    assert "ul2: the text is one stream, cut into chunks of 900 to 1,200 tokens" in text
    assert "train documents 1 2 3 4 5 6 7 8 47" in text
    assert "Left out: 5 documents shorter than task.min_characters." in text
    assert "cut off" not in text.replace("of a document is cut off", "")
    assert "best_fit" not in text
    assert "chunks of 900 tokens" in "\n".join(printed(dataclasses.replace(task, chunk_lengths=[900])))


def test_a_sample_that_was_packed_is_owned_up_to(printed):
    note = f"Packings that the run does not use were measured on {PACKED_PAIRS:,} pairs."
    assert note not in printed(make_task())
    assert note in printed(make_task(train=make_side(7, num_examples=PACKED_PAIRS + 1)))


def test_text_that_was_there_has_no_times(printed):
    text = "\n".join(printed(make_task(making=None)))
    assert "Time: the text was there already" in text
    assert "opening the source" not in text


def test_the_tasks_of_a_mixture_are_told_apart_and_together(printed):
    lines = printed(make_task(), make_task(rate=0.625), vocabulary_s=3.5)
    assert [line for line in lines if line.startswith("==")] == ["== first: somewhere.csv", "== second: somewhere.csv"]
    assert "Rate: 37.5% of the examples of the mixture." in lines
    assert "Rate: 62.5% of the examples of the mixture." in lines
    (together,) = [line for line in lines if line.startswith("All tasks together")]
    assert "8,765 rows an epoch, 68.5 steps" in together
    assert "15.0% padding" in together
    assert "Time: the vocabulary 3.50 s, opening" in lines[-1]


def test_a_length_that_was_chosen_for_the_user_is_pointed_out(printed):
    text = "\n".join(printed(make_task(), targets_length_is_recommended=True))
    assert "train.targets_length is null, and a task with targets needs one: the numbers above are for 64" in text


def test_names_in_brackets_are_printed_as_they_are(printed):
    assert "== first: folder/[bold]x*.csv" in printed(make_task(source="folder/[bold]x*.csv"))


def test_no_number_is_left_out_for_want_of_space(printed):
    wide = Lengths(1e7, dict.fromkeys(QUANTILES, 10_000_000))
    task = make_task(train=make_side(7, lengths={"documents": wide}))
    assert "train documents" + " 10,000,000" * 9 in printed(task)
