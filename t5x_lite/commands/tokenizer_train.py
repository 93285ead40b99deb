# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite tokenizer train`: trains a SentencePiece model on any source of text and reports its quality."""

import contextlib
import pathlib
import re
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Iterator

from t5x_lite.config import TaskConfig
from t5x_lite.config.commands import TokenizerTrainConfig
from t5x_lite.data.records.rows import LeftOut, read_rows
from t5x_lite.data.sources import named, open_source
from t5x_lite.data.sources.named_files import source_files
from t5x_lite.data.tokenizers.sentencepiece import SentencePieceTokenizer, parse_model
from t5x_lite.data.tokenizers.train import Sample, fit_sentencepiece_model, sample_lines
from t5x_lite.files.atomic_write import written_atomically
from t5x_lite.files.one_writer import one_writer
from t5x_lite.files.same_file import refuse_overwriting

EXAMPLE_CHARACTERS = 80
# This command's options by the task fields that appear in errors.
SHARED = ("text", "text_unit", "columns", "bad_records", "max_unpack_ratio", "packages")
OPTIONS = {"source": "input", "tokenizer.vocab_size": "vocab_size"} | {name: name for name in SHARED}
FIELD = re.compile(rf"(?<![\w./-])task\.({'|'.join(map(re.escape, OPTIONS))})(?![\w./-])")


def run(cfg: TokenizerTrainConfig) -> None:
    """Trains a vocabulary on a sample of the streamed text, writes it and prints a report."""
    path = pathlib.Path(cfg.output)
    paths = path, path.with_suffix(".vocab")
    with contextlib.ExitStack() as stack:
        for written in paths:
            stack.enter_context(one_writer(written, "--output"))
        check_new(paths, overwrite=cfg.overwrite)
        train(cfg, *paths)


def train(cfg: TokenizerTrainConfig, model_path: pathlib.Path, listing_path: pathlib.Path) -> None:
    """Trains a vocabulary; see `run`."""
    names = cfg.input[0] if len(cfg.input) == 1 else cfg.input
    skipped: list[str] = []
    try:
        refuse_overwriting((model_path, listing_path), source_files(names), "--output")
        print(f"Reading {named(names)}", file=sys.stderr)
        sample = sample_lines(read_texts(cfg, skipped), cfg.max_bytes)
        if skipped:
            first = options_named(skipped[0])
            print(f"Skipped {len(skipped):,} bad records or files; the first: {first}", file=sys.stderr)
        print(f"Training a vocabulary of {cfg.vocab_size:,} ids on {sample.num_sampled_bytes:,} bytes", file=sys.stderr)
        model = fit_sentencepiece_model(
            sample.lines,
            vocab_size=cfg.vocab_size,
            num_sentinels=cfg.num_sentinels,
            model_type=cfg.model_type,
            character_coverage=cfg.character_coverage,
            byte_fallback=cfg.byte_fallback,
        )
    except ValueError as error:
        raise ValueError(options_named(str(error))) from error
    with written_atomically(listing_path) as listing, written_atomically(model_path) as written:
        listing.write_text(pieces_and_scores(model), encoding="utf-8")  # both are on disk before either appears
        written.write_bytes(model)
    print(report(cfg, sample, SentencePieceTokenizer(model, cfg.num_sentinels)))


def check_new(paths: Iterable[pathlib.Path], *, overwrite: bool) -> None:
    """Raises ValueError if one of the paths may not be overwritten."""
    for existing in filter(pathlib.Path.exists, paths):
        if existing.is_dir():
            raise ValueError(f"--output {existing} is a directory: name a file, such as {existing / 'english.model'}")
        if not overwrite:
            raise ValueError(f"--output: {existing} exists: name another file, or add --overwrite")


def read_texts(cfg: TokenizerTrainConfig, skipped: list[str]) -> Iterator[str]:
    """Yields the documents of a source; appends the errors of bad records and files to `skipped`."""
    task = TaskConfig(
        source=cfg.input[0] if len(cfg.input) == 1 else cfg.input,
        min_characters=1,
        **{name: getattr(cfg, name) for name in SHARED},
    )
    with tempfile.TemporaryDirectory() as cache:
        source, bad_files = open_source(task, task.source, pathlib.Path(cache))
        left_out = LeftOut(skipped=skipped)
        skipped.extend(bad_files)
        yield from (row.texts[0] for row in read_rows(task, source, range(len(source)), left_out))


def report(cfg: TokenizerTrainConfig, sample: Sample, tokenizer: SentencePieceTokenizer) -> str:
    """Returns a report on the text, the vocabulary, its compression and unknown tokens, with an example."""
    ids = tokenizer.encode_batch(sample.lines)
    num_tokens = max(1, sum(len(row) for row in ids))
    num_unknown = sum(int((row == tokenizer.unk_id).sum()) for row in ids)
    middle = len(sample.lines) // 2
    longest = max(sample.lines[middle : middle + 10], key=len)
    example = textwrap.shorten(longest, EXAMPLE_CHARACTERS, placeholder="") or longest[:EXAMPLE_CHARACTERS]
    num_pieces = tokenizer.vocab_size - tokenizer.num_sentinels
    used = f"--task.tokenizer.path {cfg.output}"
    if cfg.num_sentinels != TaskConfig.tokenizer.num_sentinels:
        used += f" --task.tokenizer.num_sentinels {cfg.num_sentinels}"
    return "\n".join(
        [
            f"Read {sample.num_documents:,} documents, {sample.num_bytes:,} bytes; trained on "
            f"{sample.num_sampled_bytes:,} of them",
            f"Wrote {cfg.output}: {num_pieces:,} {cfg.model_type} pieces, {tokenizer.vocab_size:,} ids with "
            f"{tokenizer.num_sentinels:,} sentinels",
            f"{sample.num_sampled_bytes / num_tokens:.2f} bytes per token; "
            f"{num_unknown / num_tokens:.3%} of the tokens are unknown",
            f"For example   {example}",
            f"is split into {' '.join(tokenizer.pieces(example))}",
            f"Train with    {used}",
        ]
    )


def options_named(message: str) -> str:
    """Returns a message with `--input` in place of `task.source`, and so on."""
    return FIELD.sub(lambda field: f"--{OPTIONS[field[1]]}", message)


def pieces_and_scores(model: bytes) -> str:
    """Returns the content of SentencePiece's .vocab file: one piece and its score per line."""
    return "".join(f"{piece.piece}\t{piece.score:g}\n" for piece in parse_model(model).pieces)
