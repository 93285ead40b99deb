"""Tests t5x_lite/training/health.py"""

import json
import math

import pytest

from t5x_lite.training.health import divergence, newest_sane, on_risen_loss
from tests import runs

INF, NAN = math.inf, math.nan


def logged(*losses, **evaluated):
    """Losses of training by step, and held-out ones by names such as at_5, in the order of their steps."""
    rows = {(step, "loss"): loss for step, loss in losses}
    rows |= {(int(name.removeprefix("at_")), "eval/loss"): loss for name, loss in evaluated.items()}
    return dict(sorted(rows.items(), key=lambda row: (row[0][0], row[0][1] == "eval/loss")))


@pytest.mark.parametrize("bad", [NAN, INF, 4.1])
def test_a_step_followed_by_a_bad_loss_is_not_sane(bad):
    assert newest_sane([5, 10], logged((4, 3.0), (6, 3.5), (11, bad))) == 5


def test_a_loss_far_above_an_earlier_one_but_not_the_lowest_is_judged_by_the_lowest():
    assert newest_sane([5, 10], logged((4, 3.0), (6, 3.9), (11, 4.8))) == 5


def test_the_loss_of_a_step_itself_does_not_judge_it():
    assert newest_sane([5, 10], logged((5, 3.0), (10, 3.0))) == 5


def test_an_evaluation_judges_before_the_next_training_step():
    assert newest_sane([5, 10], logged((6, 3.0), (11, NAN), at_10=3.0)) == 10
    assert newest_sane([5, 10], logged((6, 3.0), (11, 3.0), at_5=3.0, at_10=4.5)) == 5


def test_the_first_loss_is_sane_however_high():
    assert newest_sane([5], logged((6, 11.0))) == 5


def test_without_losses_no_step_is_sane():
    assert newest_sane([5, 10], {}) is None
    assert newest_sane([], logged((6, 11.0))) is None


class Checkpoints:
    """Checkpoints of which only the steps are asked for."""

    def steps(self):
        return [35, 40]


def test_the_message_names_the_checkpoint_and_the_command_with_a_lower_rate(tmp_path):
    cfg = runs.config(tmp_path, max_nonfinite_steps=3)  # with a learning rate of 0.02
    rows = [{"step": 40, "learning_rate": 0.01}, {"step": 41, "learning_rate": 0.02}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    message = str(divergence(cfg, Checkpoints(), logged((41, 3.0)), 44, 3))
    assert message.startswith("the gradients of the last 3 steps up to step 44 were not finite")
    command = (
        f"t5x-lite train --config {tmp_path}/config.yaml --from_step 40 --optimizer.learning_rate 0.005 --allow_changes"
    )
    assert f"go on from the checkpoint of step 40: {command}" in message


def test_without_a_sane_checkpoint_the_message_names_none(tmp_path):
    cfg = runs.config(tmp_path, max_nonfinite_steps=3)
    message = str(divergence(cfg, Checkpoints(), {}, 44, 3))
    assert "--from_step" not in message
    assert message.endswith("start again in another run_dir, because there is no checkpoint from before")


def test_at_the_last_step_training_longer_is_offered(tmp_path):
    cfg = runs.config(tmp_path, max_nonfinite_steps=3)
    assert "or to train past them raise train.num_steps" in str(divergence(cfg, Checkpoints(), {}, 8, 1))


def test_a_risen_loss_is_told_at_the_end_with_the_checkpoint_from_before(tmp_path):
    cfg = runs.config(tmp_path)  # which keeps 2
    losses = {36: 3.0, 41: 9.0, 46: 9.0}
    rows = [{"step": step, "loss": loss, "learning_rate": 0.02} for step, loss in losses.items()]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = on_risen_loss(cfg, [35, 40, 45])
    assert told.startswith("\nThe loss has risen: step 35 is the last one with a sane loss")
    assert told.endswith("--from_step 35 --optimizer.learning_rate 0.01 --allow_changes")
    assert on_risen_loss(cfg, [30, 31, 35]) == ""
