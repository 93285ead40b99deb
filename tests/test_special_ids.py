"""A T5 whose ids are numbered differently computes the same: MADLAD-400 pads with 1, FRED-T5 ends with 2.

`Renumbered` swaps T5's special ids with ids of text, so that id 0 is a token like any other. The model's embedding and
logits are renumbered with it, and everything must come out as with T5's ids, renumbered.
"""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from t5x_lite.checkpoints.load import Pretrained, check_ids
from t5x_lite.commands.attention.look import look_at
from t5x_lite.config import TaskConfig
from t5x_lite.config.architectures import Architecture
from t5x_lite.config.commands import AttentionConfig
from t5x_lite.config.generation import GenerationConfig
from t5x_lite.data.converters import make_converter
from t5x_lite.data.examples import Chunks
from t5x_lite.data.mixing import Mixed
from t5x_lite.data.objectives import OBJECTIVES, make_objectives
from t5x_lite.data.packing import PackedPairs
from t5x_lite.data.pairs import Pairs
from t5x_lite.data.pipeline import eval_batches, unigram_entropy
from t5x_lite.data.tokenizers.bytes import ByteAndSentinelTokenizer
from t5x_lite.evaluation.evaluator import held_out_sums
from t5x_lite.inference.api import generate
from t5x_lite.inference.score import score
from t5x_lite.serving.batch import Job, program_of, run_batch
from t5x_lite.serving.programs import Programs
from tests import tiny

SWAPPED = {0: 3, 1: 5, 2: 1, 3: 0, 5: 2}  # by T5's ids; 3 and 5 are the bytes 0 and 2
OTHER_V = np.arange(512)
OTHER_V[list(SWAPPED)] = list(SWAPPED.values())
T5_V = np.argsort(OTHER_V)
TEXTS = ["a \x00 b", "\x00\x02", "", "the quick \x02brown fox", "\x00"]
CFG = dataclasses.replace(tiny.T5_1_1, vocab_size=384)


class Renumbered(ByteAndSentinelTokenizer):
    """ByT5's bytes and separate sentinels under other numbers."""

    pad_id, eos_id, unk_id = (int(OTHER_V[i]) for i in range(3))

    def encode(self, text):
        return OTHER_V[np.asarray(super().encode(text), int)].tolist()

    def encode_batch(self, texts):
        return [np.asarray(self.encode(text), np.int32) for text in texts]

    def surfaces(self):
        surfaces = super().surfaces()
        return [surfaces[i] for i in T5_V[: len(surfaces)]]

    def _decode_known(self, ids):
        return super()._decode_known([int(T5_V[i]) for i in ids])


OLD, NEW = ByteAndSentinelTokenizer(20), Renumbered(20)


@functools.cache
def models(name="encoder_decoder"):
    """A model with T5's ids, and the same one with others."""
    old = tiny.drawn_by_name(name, CFG, seed=3)

    def renumbered(path, leaf):
        name = jax.tree_util.keystr(path)
        if "embedding" in name:
            return leaf[T5_V[: CFG.vocab_size]]
        return leaf[:, T5_V[: CFG.vocab_size]] if "logits_kernel" in name else leaf

    cfg = dataclasses.replace(CFG, pad_id=NEW.pad_id, eos_id=NEW.eos_id, start_id=NEW.pad_id)
    new = tiny.drawn_by_name(name, cfg, seed=3)
    new = jax.tree_util.tree_map_with_path(renumbered, new)
    architecture = tiny.architecture(name)
    return (
        Pretrained(old, OLD, CFG, 0, architecture),
        Pretrained(new, NEW, cfg, 0, architecture),
    )


class Tokens:
    """The ids of texts, alternating inputs and targets if they are pairs."""

    def __init__(self, tokenizer):
        self.rows = [np.asarray(tokenizer.encode(text), np.int32) for text in TEXTS * 4]
        self.ids = np.concatenate(self.rows)
        self.ends_E2 = np.cumsum([len(row) for row in self.rows]).reshape(-1, 2)

    def __len__(self):
        return len(self.ids)

    def read(self, begins, ends):
        return [self.ids[begin:end] for begin, end in zip(begins, ends, strict=True)]


def pairs(tokenizer):
    tokens = Tokens(tokenizer)
    return Pairs(tokens, tokens.ends_E2, 17, 13, eos_id=tokenizer.eos_id, pad_id=tokenizer.pad_id)


def chunks(tokenizer, objective):
    task, lengths = TaskConfig(objective=objective), {"inputs_length": 29, "targets_length": None}
    made = make_objectives(task, tokenizer, **lengths, seed=0)
    members = [Chunks(Tokens(tokenizer), one) for _, one in made]
    return members[0] if len(members) == 1 else Mixed(members, [rate for rate, _ in made], seed=0)


def examples(tokenizer, kind):
    match kind:
        case "pairs":
            return pairs(tokenizer)
        case "packed":
            return PackedPairs(pairs(tokenizer), "first_fit")
        case "mixed":
            members = [PackedPairs(pairs(tokenizer), "first_fit"), chunks(tokenizer, "span_corruption")]
            return Mixed(members, [1.0, 1.0], seed=0)
        case _:
            return chunks(tokenizer, kind)


KINDS = ("pairs", "packed", "mixed", *(name for name in OBJECTIVES if name not in ("masked_lm", "ul2")))


def batches(kind, architecture="encoder_decoder"):
    """One batch of every example with T5's ids, and one with the others, as features."""
    found = []
    for tokenizer in (OLD, NEW):
        task = TaskConfig(inputs="{a}", targets="{b}", source="x") if kind in KINDS[:3] else TaskConfig(objective=kind)
        convert = make_converter(Architecture(architecture), {"": task}, tokenizer)
        made = examples(tokenizer, kind)
        found.append(next(iter(eval_batches(made, batch_size=len(made), num_batches=1, convert=convert))))
    return found


CASES = [(kind, "encoder_decoder") for kind in KINDS]
CASES += [(kind, "prefix_lm") for kind in KINDS if kind != "causal_lm"] + [("pairs", "causal_lm"), ("causal_lm",) * 2]


@pytest.mark.parametrize(("kind", "architecture"), CASES)
def test_examples_are_those_of_t5_renumbered(kind, architecture):
    old, new = batches(kind, architecture)
    assert old.keys() == new.keys()
    for name, ids in old.items():
        expected = OTHER_V[ids] if name.endswith("_tokens") else ids
        np.testing.assert_array_equal(new[name], expected, err_msg=name)
    weights = next(new[name] for name in new if name.endswith("loss_weights"))
    targets = next(new[name] for name in new if name.endswith("target_tokens"))
    if kind != "iid_denoising":  # which happens to drop none here
        assert (weights[targets == 0] == 1).any()  # id 0 is text, and is trained on
    assert not weights[targets == NEW.pad_id].any()


@pytest.mark.parametrize("kind", ["pairs", "packed"])
def test_the_loss_of_every_target_and_of_text_is_that_of_t5(kind):
    sums = []
    for pretrained, batch in zip(models(), batches(kind), strict=True):
        ids = {"eos_id": pretrained.tokenizer.eos_id, "no_text": pretrained.tokenizer.sentinel_ids}
        sums.append(jax.device_get(held_out_sums(pretrained.model, batch, **ids)))
    np.testing.assert_allclose(sums[1], sums[0], rtol=1e-5)
    assert sums[0].text_tokens > 20


def test_the_unigram_entropy_counts_id_0():
    old, new = batches("pairs")
    assert unigram_entropy([new], NEW) == pytest.approx(unigram_entropy([old], OLD), rel=1e-12)


SETTINGS = {
    "greedy": {},
    "beams": {"num_beams": 3},
    "beams of transformers": {"num_beams": 4, "beam_variant": "hf"},
    "repetition": {"repetition_penalty": 1.9, "no_repeat_ngram_size": 2, "min_new_tokens": 5},
    "repeating beams": {"num_beams": 2, "repetition_penalty": 1.9},
    "forced": {"forced_prefix": "\x00a\x02"},
    "forced beams": {"forced_prefix": "\x00a\x02", "num_beams": 2},
}
QUICK = ("greedy", "beams")


@pytest.mark.parametrize("name", ["encoder_decoder", "causal_lm"])
@pytest.mark.parametrize(
    "settings",
    [pytest.param(SETTINGS[key], id=key, marks=() if key in QUICK else pytest.mark.slow) for key in SETTINGS],
)
def test_texts_are_generated_as_with_t5s_ids(name, settings):
    if name == "causal_lm" and settings not in (SETTINGS["greedy"], SETTINGS["forced"]):
        pytest.skip("decoded by the same code")
    old, new = (generate(model, TEXTS, max_new_tokens=9, batch_size=3, **settings) for model in models(name))
    assert new == old
    assert len(set(old)) > 1 or settings.get("forced_prefix")
    if "forced_prefix" in settings:
        assert all(text.startswith("\x00a\x02") for text in new)


@pytest.mark.parametrize("name", ["encoder_decoder", "prefix_lm"])
def test_targets_are_scored_as_with_t5s_ids(name):
    old, new = (score(model, TEXTS, TEXTS[::-1], batch_size=2) for model in models(name))
    for one, other in zip(old, new, strict=True):
        np.testing.assert_allclose(other.log_probs, one.log_probs, rtol=1e-4, atol=1e-4)
    assert [len(one.log_probs) for one in new] == [len(text) + 1 for text in TEXTS[::-1]]


def test_the_server_decodes_and_embeds_as_with_t5s_ids():
    def run(pretrained, config):
        tokenizer, events = pretrained.tokenizer, []
        ids = [[*tokenizer.encode(text), tokenizer.eos_id] for text in TEXTS]
        jobs = [
            Job(ids=row, notify=lambda event, b=b: events.append((b, event)), config=config)
            for b, row in enumerate(ids)
        ]
        run_batch(pretrained, jobs, program_of(jobs, 2 * len(jobs)), Programs(2))
        return dict(events)

    for config in (GenerationConfig(max_new_tokens=7), GenerationConfig(max_new_tokens=7, num_beams=2)):
        old, new = (run(model, config) for model in models())
        for b in range(len(TEXTS)):
            (one,), (other,) = old[b].sequences, new[b].sequences
            assert OTHER_V[one.ids].tolist() == other.ids
            assert (one.num_tokens, one.finish) == (other.num_tokens, other.finish)
    old, new = (run(model, None) for model in models())
    for b in range(len(TEXTS)):
        np.testing.assert_allclose(new[b].values_E, old[b].values_E, rtol=1e-4, atol=1e-5)


def test_attention_is_paid_as_with_t5s_ids():
    options = AttentionConfig(checkpoint="x", text="\x00 a\x02", max_new_tokens=4)
    old, new = (look_at(model, options) for model in models())
    assert new.facts == old.facts
    for one, other in zip(old.maps, new.maps, strict=True):
        assert (other.queries, other.keys) == (one.queries, one.keys)
        np.testing.assert_allclose(other.weights_LNQK, one.weights_LNQK, rtol=1e-3, atol=1e-4)


def test_a_tokenizer_with_other_ids_than_the_models_is_refused():
    with pytest.raises(ValueError, match=r"x has pad_id 3 and eos_id 5, but its tokenizer has 0 and 1"):
        check_ids(models()[1].config, OLD, "x")
