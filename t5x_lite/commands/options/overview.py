# SPDX-License-Identifier: Apache-2.0
"""All commands; a training run imports only its own."""

from t5x_lite.commands.options import TRAIN, Command

COMMANDS = {
    "train": TRAIN,
    "eval": Command(
        "Computes metrics on held-out examples of a run's tasks, with its latest checkpoint.",
        "t5x-lite eval --checkpoint runs/first --task.metrics [accuracy]",
        "eval:add_options",
    ),
    "infer": Command(
        "Generates, fills spans or classifies each input line. Writes JSON lines; the same command resumes.",
        "t5x-lite infer --checkpoint runs/first --input questions.txt --output answers.jsonl",
        "models:add_infer",
    ),
    "embed": Command(
        "Writes the embedding of each input line, from the encoder of any model. The same command resumes JSON lines.",
        "t5x-lite embed --checkpoint sentence-t5-base --input texts.txt --output vectors.jsonl",
        "models:add_embed",
    ),
    "serve": Command(
        "Serves a model over HTTP with OpenAI's API. Endpoints: /v1/completions, /v1/embeddings, /v1/models, /health, "
        "/metrics.",
        "t5x-lite serve --checkpoint runs/first --port 8000",
        "models:add_serve",
    ),
    "convert": Command(
        "Converts checkpoints between Hugging Face, T5X and t5x_lite formats.",
        "t5x-lite convert runs/first my-model --format hf",
        "models:add_convert",
    ),
    "data": Command(
        "Inspects, tokenises or measures the text of a task.",
        "t5x-lite data inspect --config configs/smoke/cpu.yaml",
        "data:add_data",
    ),
    "tokenizer": Command(
        "Trains a SentencePiece vocabulary.",
        "t5x-lite tokenizer train --input text.txt --output my.model --vocab_size 8192",
        "data:add_tokenizer",
    ),
    "models": Command(
        "Lists the published architectures with their sizes, memory and FLOPs per token.",
        "t5x-lite models t5_1_1_small t5_1_1_base",
        "models:add_models",
    ),
    "runs": Command(
        "Lists the runs in a directory: their state, last loss and best result.",
        "t5x-lite runs runs",
        "runs:add_runs",
    ),
    "attention": Command(
        "Visualises attention maps and token probabilities of a text. Writes a page and a picture, and prints a table.",
        "t5x-lite attention --checkpoint runs/first --text 'Returns the <extra_id_0> of the array.'",
        "models:add_attention",
    ),
    "compile": Command(
        "Compiles a run ahead of time for TPUs or GPUs that are not present. Reports memory, FLOPs, communication and "
        "the best possible speed; needs neither the devices nor the text.",
        "t5x-lite compile --config configs/pretrain/t5_1_1_base_v5e_16.yaml --topology v5e:4x4",
        "runs:add_compile",
    ),
}
