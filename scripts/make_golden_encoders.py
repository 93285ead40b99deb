# SPDX-License-Identifier: Apache-2.0
"""Writes tiny random encoders of the T5 families in Hugging Face's format, with the outputs of transformers.

    pip install torch transformers sentence-transformers
    python scripts/make_golden_encoders.py [--output tests/checkpoints/hf/golden_encoders] [--seed 0]

Writes one directory per model: the model as `save_pretrained` stores it, and `expected.npz` with a padded batch and the
encoder's last hidden states or the classifier's logits. `sentence_t5` and `first_token` are directories of
sentence-transformers, with the embeddings of TEXTS.
"""

import argparse
import pathlib
from typing import Any

import numpy as np
import torch
import transformers

VOCAB_SIZE = 61
SIZES: dict[str, Any] = {"d_model": 12, "d_kv": 5, "num_heads": 3, "d_ff": 14, "num_layers": 3, "dropout_rate": 0.0}
LABELS = ("O", "B-PER", "I-PER", "B-LOC")
ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "t5": ("T5EncoderModel", {"feed_forward_proj": "relu"}),
    "t5_1_1": ("T5EncoderModel", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "mt5": ("MT5EncoderModel", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "umt5": ("UMT5EncoderModel", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "t5_tokens": ("T5ForTokenClassification", {"feed_forward_proj": "relu", "id2label": dict(enumerate(LABELS))}),
    "umt5_tokens": ("UMT5ForTokenClassification", {"id2label": dict(enumerate(LABELS))}),
}
SENTENCES = ("sentence_t5", "first_token")
MAX_TOKENS = 24  # of the sentence encoders, EOS included; one text is longer
TEXTS = ("A dog.", " Ein Hund läuft über die Straße, 犬も歩く ", "", "x" * 60, "e = mc²\tand\nmore", "B")
B, S = 3, 11


def main() -> None:
    """Writes the golden files of all encoders."""
    parser = argparse.ArgumentParser(description="Writes golden files from Hugging Face's encoders.")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("tests/checkpoints/hf/golden_encoders"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in ENCODERS:
        write_encoder(name, options.output / name, options.seed)
    for name in SENTENCES:
        write_sentence_encoder(name, options.output / name, options.seed)


def write_encoder(name: str, directory: pathlib.Path, seed: int) -> None:
    """Writes one model and its outputs."""
    class_name, options = ENCODERS[name]
    kind = getattr(transformers, class_name)
    model = with_random_parameters(kind(kind.config_class(vocab_size=VOCAB_SIZE, **SIZES, **options)), seed)
    model.save_pretrained(directory)
    np.savez_compressed(directory / "expected.npz", allow_pickle=False, **compute(model, seed))


def write_sentence_encoder(name: str, directory: pathlib.Path, seed: int) -> None:
    """Writes a directory as sentence-transformers does, and the embeddings of TEXTS."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    tokenizer = transformers.ByT5Tokenizer(extra_ids=125)
    config = transformers.T5Config(vocab_size=384, feed_forward_proj="gated-gelu", **SIZES)
    plain = directory / "plain"
    with_random_parameters(transformers.T5EncoderModel(config), seed).save_pretrained(plain)
    tokenizer.save_pretrained(plain)
    encoder = modules.Transformer(str(plain), max_seq_length=MAX_TOKENS)
    mode = "mean" if name == "sentence_t5" else "cls"
    parts = [encoder, modules.Pooling(SIZES["d_model"], pooling_mode=mode)]
    if name == "sentence_t5":
        dense = modules.Dense(SIZES["d_model"], 10, bias=False, activation_function=torch.nn.Identity())
        parts += [with_random_parameters(dense, seed + 1), modules.Normalize()]
    else:
        parts += [with_random_parameters(modules.Dense(SIZES["d_model"], 7), seed + 1)]  # with bias and tanh
    model = SentenceTransformer(modules=parts, device="cpu")
    model.save_pretrained(str(directory), create_model_card=False)
    for path in plain.iterdir():
        path.unlink()
    plain.rmdir()
    np.savez_compressed(directory / "expected.npz", allow_pickle=False, embeddings_BE=embeddings(model))


def embeddings(model: Any) -> np.ndarray:
    """Returns the embeddings of TEXTS by sentence-transformers."""
    return np.asarray(model.encode(list(TEXTS), show_progress_bar=False))


def with_random_parameters(model: Any, seed: int) -> Any:
    """Returns the model with random parameters, in evaluation mode."""
    torch.manual_seed(seed)
    for parameter in model.parameters():
        parameter.data = 0.4 * torch.randn_like(parameter)
    return model.eval()


def batch(seed: int) -> np.ndarray:
    """Returns inputs_BS; some rows end in padding."""
    inputs_BS = np.random.default_rng(seed).integers(2, VOCAB_SIZE, (B, S))
    inputs_BS[1, 8:], inputs_BS[2, 3:] = 0, 0
    return inputs_BS


def compute(model: Any, seed: int) -> dict[str, np.ndarray]:
    """Returns the batch and the model's output for it: last hidden states, or logits."""
    inputs_BS = batch(seed)
    with torch.no_grad():
        output = model(input_ids=torch.tensor(inputs_BS), attention_mask=torch.tensor(inputs_BS != 0))
    return {"inputs_BS": inputs_BS, "output": output[0].numpy()}


if __name__ == "__main__":
    main()
