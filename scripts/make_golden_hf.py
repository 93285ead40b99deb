# SPDX-License-Identifier: Apache-2.0
"""Writes tiny random models of every T5 family in Hugging Face's format, with the outputs of transformers.

    pip install torch transformers
    python scripts/make_golden_hf.py [--output tests/checkpoints/hf/golden] [--seed 0]

Writes one directory per family: the model as `save_pretrained` stores it, and `expected.npz` with a padded batch,
logits, the mean loss, the gradient of every parameter, the encoder's output, and the tokens of greedy search and of
four beams.
"""

import argparse
import pathlib

import numpy as np
import torch
import transformers

VOCAB_SIZE = 61
SIZES = {"vocab_size": VOCAB_SIZE, "d_model": 12, "d_kv": 5, "num_heads": 3, "d_ff": 14, "num_layers": 3}
OPTIONS = {"num_decoder_layers": 2, "dropout_rate": 0.0, "decoder_start_token_id": 0}
MADLAD_IDS = {"pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 0}
OTHER_IDS = {"pad_token_id": 3, "eos_token_id": 5, "decoder_start_token_id": 7}
B, S, T = 3, 11, 7
NEW_TOKENS = 9
FAMILIES = {
    "t5": ("T5", {"feed_forward_proj": "relu"}),
    "t5_1_1": ("T5", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "mt5": ("MT5", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "byt5": ("T5", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "num_decoder_layers": 1}),
    "umt5": ("UMT5", {"feed_forward_proj": "gated-gelu"}),
    "ul2": ("T5", {"feed_forward_proj": "gated-silu"}),
    "madlad": ("T5", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False} | MADLAD_IDS),
    # What few models have: special ids that all differ, exact GELU and another epsilon.
    "exact": (
        "T5",
        {"feed_forward_proj": "gated-gelu", "dense_act_fn": "gelu", "layer_norm_epsilon": 1e-3} | OTHER_IDS,
    ),
    # The rest are not stored, since others have the same forms.
    "fred": ("T5", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "eos_token_id": 2}),
    "codet5": ("T5", {"feed_forward_proj": "relu", "bos_token_id": 1, "eos_token_id": 2}),
    "ankh": (
        "T5",
        {"feed_forward_proj": "gated-silu", "tie_word_embeddings": False, "relative_attention_num_buckets": 64},
    ),
    "prot": ("T5", {"feed_forward_proj": "relu", "relative_attention_num_buckets": 64, "tie_word_embeddings": False}),
    "gelu": ("T5", {"feed_forward_proj": "gelu"}),
    "aya": ("T5", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "tokenizer_class": "T5Tokenizer"}),
    "mt0": ("MT5", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "t0": ("T5", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "output_past": True}),
    "flan_ul2": ("T5", {"feed_forward_proj": "gated-silu", "tie_word_embeddings": False}),
}
UNTIED = ("t5_1_1", "mt5", "byt5", "umt5", "madlad", "fred", "ankh", "prot", "aya", "mt0", "t0", "flan_ul2")
STORED = (*UNTIED[:5], "t5", "ul2", "exact")


def main() -> None:
    """Writes the golden files of all families."""
    parser = argparse.ArgumentParser(description="Writes golden files from Hugging Face's models.")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("tests/checkpoints/hf/golden"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for family in STORED:
        write_family(family, options.output / family, options.seed)


def write_family(family: str, directory: pathlib.Path, seed: int) -> None:
    """Writes one model and its outputs."""
    model = make_model(family, seed)
    model.save_pretrained(directory)
    np.savez_compressed(directory / "expected.npz", allow_pickle=False, **compute(model, seed))


def make_model(family: str, seed: int) -> torch.nn.Module:
    """Returns a model with random parameters, in evaluation mode."""
    torch.manual_seed(seed)
    name, options = FAMILIES[family]
    config = getattr(transformers, f"{name}Config")(**(SIZES | OPTIONS | options))
    model = getattr(transformers, f"{name}ForConditionalGeneration")(config).eval()
    if family in UNTIED:
        model.lm_head.weight = torch.nn.Parameter(torch.zeros(config.vocab_size, config.d_model))
    for parameter in model.parameters():
        parameter.data = 0.4 * torch.randn_like(parameter)
    model.generation_config.eos_token_id = config.eos_token_id
    return model


def batch(seed: int, pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns inputs_BS and targets_BT; some rows of both end in padding, which occurs nowhere else."""
    rng = np.random.default_rng(seed)
    inputs_BS, targets_BT = rng.integers(2, VOCAB_SIZE, (B, S)), rng.integers(2, VOCAB_SIZE, (B, T))
    for ids in (inputs_BS, targets_BT):
        ids[ids == pad_id] = 0
        ids[:, 0] = 0 if pad_id else ids[:, 0]  # a token like any other
    for ids in (inputs_BS[1, 8:], inputs_BS[2, 3:], targets_BT[0, 5:], targets_BT[2, 2:]):
        ids[:] = pad_id
    return inputs_BS, targets_BT


def compute(model: torch.nn.Module, seed: int) -> dict[str, np.ndarray]:
    """Returns the batch and the model's outputs for it."""
    pad_id = model.config.pad_token_id
    inputs_BS, targets_BT = batch(seed, pad_id)
    inputs, mask = torch.tensor(inputs_BS), torch.tensor(inputs_BS != pad_id)
    labels = torch.tensor(np.where(targets_BT == pad_id, -100, targets_BT))
    model.zero_grad()
    output = model(input_ids=inputs, attention_mask=mask, labels=labels)
    output.loss.backward()
    search = {"input_ids": inputs, "attention_mask": mask, "max_new_tokens": NEW_TOKENS, "do_sample": False}
    arrays = {
        "inputs_BS": inputs_BS,
        "targets_BT": targets_BT,
        "encoded_BSD": output.encoder_last_hidden_state,
        "logits_BTV": output.logits,
        "loss": output.loss,
        "greedy_BT": model.generate(**search, num_beams=1),
        "beam_BT": model.generate(**search, num_beams=4),
    }
    arrays |= {f"gradient/{name}": parameter.grad for name, parameter in model.named_parameters()}
    return {name: np.asarray(a.detach() if isinstance(a, torch.Tensor) else a) for name, a in arrays.items()}


if __name__ == "__main__":
    main()
