# SPDX-License-Identifier: Apache-2.0
"""Tokenises portions with Apache Beam, for more text than one machine can handle (extra `beam`).

Workers tokenise whole portions, so the shards do not depend on the number of workers. All workers need the sources, the
output directory and the tokenizer at the same paths, on a shared file system.
"""

import json
from collections.abc import Iterator, Sequence

from t5x_lite.data.corpus.manifest import Part
from t5x_lite.data.corpus.tokenize import Portion, PortionTokenizer, Preparation

try:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions
except ImportError as error:
    raise ValueError("--runner beam needs Apache Beam: pip install 't5x-lite[beam]'") from error


class TokenizePortion(beam.DoFn):
    """Tokenises portions, with one tokenizer per worker."""

    def __init__(self, preparation: Preparation):
        super().__init__()
        self._preparation = preparation

    def setup(self) -> None:
        self._tokenizer = PortionTokenizer(self._preparation)

    def process(self, element: Portion) -> Iterator[str]:
        part = self._preparation.read_part(element) or self._tokenizer.tokenize(element)
        yield json.dumps(part)


def tokenize_portions_with_beam(
    preparation: Preparation, portions: Sequence[Portion], options: Sequence[str] = ()
) -> list[Part]:
    """Tokenises the unfinished portions and returns the parts of all portions, in order.

    `options` are Beam's, such as `--runner=DataflowRunner`; the default runner is local.
    """
    pipeline_options = PipelineOptions(list(options))
    pipeline_options.view_as(SetupOptions).save_main_session = False
    with beam.Pipeline(options=pipeline_options) as pipeline:
        _ = (
            pipeline
            | "Portions" >> beam.Create(list(portions))
            | "Spread" >> beam.Reshuffle()
            | "Tokenise" >> beam.ParDo(TokenizePortion(preparation))
        )
    parts = [preparation.read_part(portion) for portion in portions]
    missing = [portion.name for portion, part in zip(portions, parts, strict=True) if part is None]
    if missing:
        raise RuntimeError(
            f"{len(missing)} of {len(portions)} portions are missing, the first {missing[0]}: run the command again"
        )
    return [part for part in parts if part is not None]
