"""Tests t5x_lite/__init__.py"""

import inspect
import subprocess
import sys

import numpy as np
import pytest
from flax import nnx

import t5x_lite


def test_every_public_name_can_be_imported():
    for name in t5x_lite.__all__:
        assert getattr(t5x_lite, name) is not None
    assert set(t5x_lite.__all__) <= set(dir(t5x_lite))
    assert len(t5x_lite.__all__) <= 25


def parameters(function) -> str:
    return " ".join(name for name in inspect.signature(function).parameters if name != "self")


TASK = (
    "base mixture source eval_source prepared text inputs targets preprocess choices labels metrics text_unit columns "
    "bad_records max_unpack_ratio packages min_characters eval_percent objective noise_density mean_noise_span_length "
    "tokenizer"
)
MODEL_CONFIG = (
    "vocab_size emb_dim num_heads head_dim mlp_dim num_encoder_layers num_decoder_layers mlp_activations "
    "tie_embeddings scale_logits relative_bias_per_layer relative_position_buckets relative_position_max_distance "
    "dropout_rate norm_epsilon pad_id eos_id start_id dtype attention remat offload"
)
PARAMETERS = {
    "Decoder": "cfg rngs",
    "Encoder": "cfg rngs",
    "Mixture": "tasks rates cap temperature",
    "ModelConfig": MODEL_CONFIG,
    "RunConfig": "run_dir seed task model data train optimizer eval checkpoint mesh revision",
    "T5": "cfg rngs",
    "Task": TASK,
    "Tokenizer": "",
    "encode": "model texts tokenizer batch_size settings",
    "evaluate": "model config num_batches trust",
    "generate": "pretrained inputs batch_size settings",
    "load": "directory mesh tokenizer step",
    "presets": None,
    "rank": "pretrained inputs choices by_token batch_size",
    "save_hf": "model tokenizer directory dtype",
    "score": "pretrained inputs targets batch_size",
    "train": "cfg profile allow_changes from_step",
}
CALLS = {
    "Decoder": "inputs_BT prefix_BT segments_BT dropout_key",
    "Encoder": "inputs_BS segments_BS dropout_key",
    "T5": "inputs_BS decoder_inputs_BT inputs_segments_BS targets_segments_BT dropout_key",
}


def test_the_public_names_and_their_parameters_stay():
    assert t5x_lite.__all__ == sorted(PARAMETERS)
    for name, expected in PARAMETERS.items():
        value = getattr(t5x_lite, name)
        if name in CALLS:
            assert (parameters(value.__init__), parameters(value.__call__)) == (expected, CALLS[name])
        elif expected is not None:
            assert parameters(value) == expected, name


def test_tasks_and_evaluation_have_public_names():
    from t5x_lite import config
    from t5x_lite.evaluation import api

    assert (t5x_lite.Task, t5x_lite.Mixture) == (config.TaskConfig, config.MixtureConfig)
    assert t5x_lite.evaluate is api.evaluate


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'T6'"):
        t5x_lite.T6  # noqa: B018


def test_a_model_runs_in_three_lines():
    sizes = {"vocab_size": 128, "emb_dim": 8, "num_heads": 2, "head_dim": 3, "mlp_dim": 16}
    cfg = t5x_lite.ModelConfig(**sizes, num_encoder_layers=1, num_decoder_layers=1)
    model = t5x_lite.T5(cfg, rngs=nnx.Rngs(0))
    logits_BTV = model(np.array([[5, 6, 1]]), np.array([[0, 7]]))
    assert logits_BTV.shape == (1, 2, 128)


def test_an_encoder_and_a_decoder_alone_have_public_names():
    from t5x_lite.model import decoder, encoder

    assert (t5x_lite.Encoder, t5x_lite.Decoder) == (encoder.Encoder, decoder.Decoder)


def test_importing_the_model_brings_in_neither_data_nor_checkpoints():
    heavy = ("orbax", "grain", "sentencepiece")
    code = f"import sys\nfrom t5x_lite import T5\nprint([name for name in {heavy} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
