"""What is published beside models of the family: config.json, generation_config.json and tokenizer_config.json."""

_COMMON = {
    "dropout_rate": 0.1,
    "initializer_factor": 1.0,
    "is_encoder_decoder": True,
    "layer_norm_epsilon": 1e-06,
    "relative_attention_num_buckets": 32,
    "use_cache": True,
}
_IDS = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
_T5 = _COMMON | _IDS | {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "vocab_size": 32128}
_GATED = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "output_past": True}
_WRITTEN = {"is_gated_act": True, "dense_act_fn": "gelu_new", "relative_attention_max_distance": 128}
_MULTILINGUAL = {"tokenizer_class": "T5Tokenizer", "vocab_size": 250112}
_SMALL = {"d_model": 512, "d_kv": 64, "d_ff": 1024, "num_heads": 6, "num_layers": 8, "num_decoder_layers": 8}
_XXL = {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_heads": 64, "num_layers": 24, "num_decoder_layers": 24}
_TASKS = {
    "summarization": {
        "early_stopping": True,
        "length_penalty": 2.0,
        "max_length": 200,
        "min_length": 30,
        "no_repeat_ngram_size": 3,
        "num_beams": 4,
        "prefix": "summarize: ",
    },
    "translation_en_to_de": {
        "early_stopping": True,
        "max_length": 300,
        "num_beams": 4,
        "prefix": "translate English to German: ",
    },
}

# By preset: the fields of config.json, and whether the weights have an lm_head.
CONFIGS = {
    "t5_small": (
        _T5
        | {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_heads": 8, "num_layers": 6, "n_positions": 512}
        | {"output_past": True, "task_specific_params": _TASKS},
        False,
    ),
    "flan_t5_small": (_T5 | _SMALL | _GATED | _WRITTEN | {"n_positions": 512, "task_specific_params": _TASKS}, True),
    "mt5_small": (
        _T5 | _SMALL | _GATED | _MULTILINGUAL | {"architectures": ["MT5ForConditionalGeneration"], "model_type": "mt5"},
        True,
    ),
    "umt5_small": (
        _T5
        | _SMALL
        | _GATED
        | _WRITTEN
        | {"architectures": ["UMT5ForConditionalGeneration"], "model_type": "umt5", "scalable_attention": True}
        | {"tokenizer_class": "T5Tokenizer", "vocab_size": 256384, "output_past": True},
        True,
    ),
    "byt5_small": (
        _T5
        | _GATED
        | {"d_model": 1472, "d_kv": 64, "d_ff": 3584, "num_heads": 6, "num_layers": 12, "num_decoder_layers": 4}
        | {"tokenizer_class": "ByT5Tokenizer", "vocab_size": 384, "gradient_checkpointing": False},
        True,
    ),
    # mT0 has mT5's form, and T0 and Aya-101 that of T5 1.1.
    "mt5_xxl": (
        _T5
        | _XXL
        | _GATED
        | _MULTILINGUAL
        | {"architectures": ["MT5ForConditionalGeneration"], "model_type": "mt5", "torch_dtype": "float32"},
        True,
    ),
    "t5_1_1_xxl_lm": (_T5 | _XXL | _GATED | {"d_ff": 10240, "torch_dtype": "float32"}, True),
}
AYA_101 = _T5 | _XXL | _GATED | _WRITTEN | _MULTILINGUAL | {"torch_dtype": "float32"}
FLAN_UL2 = (
    _T5
    | {"d_model": 4096, "d_kv": 256, "d_ff": 16384, "num_heads": 16, "num_layers": 32, "num_decoder_layers": 32}
    | {"feed_forward_proj": "gated-silu", "dense_act_fn": "silu", "is_gated_act": True, "tie_word_embeddings": False}
    | {"n_positions": 512, "output_past": True, "torch_dtype": "bfloat16"}
)
MADLAD_400_3B = (
    _COMMON
    | _WRITTEN
    | {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "vocab_size": 256000}
    | {"d_model": 1024, "d_kv": 128, "d_ff": 8192, "num_heads": 16, "num_layers": 32, "num_decoder_layers": 32}
    | {"decoder_start_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, "n_positions": 512}
    | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "torch_dtype": "float32"}
)
GENERATION = {"_from_model_config": True, "transformers_version": "4.27.0.dev0"} | _IDS
TOKENIZER = {
    "eos_token": "</s>",
    "extra_ids": 100,
    "model_max_length": 512,
    "pad_token": "<pad>",
    "sp_model_kwargs": {},
    "special_tokens_map_file": "/home/someone/special_tokens_map.json",
    "tokenizer_class": "T5Tokenizer",
    "unk_token": "<unk>",
    "additional_special_tokens": [f"<extra_id_{n}>" for n in range(100)],
}
