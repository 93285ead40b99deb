# SPDX-License-Identifier: Apache-2.0
"""The same preparation as an Apache Beam pipeline, for more text than one machine should tokenise (extra `beam`).

A worker makes whole portions, so that the shards do not depend on how many workers there are. Every worker needs the
sources, the directory and the tokenizer under the same paths: a file system that all of them mount.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from t5x_lite.data.corpus.tokenize import Portion, Preparation, Worker, read_part

try:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions
except ImportError as error:
    raise ValueError("--runner beam needs Apache Beam: pip install 't5x-lite[beam]'") from error


class MakePortion(beam.DoFn):
    """Makes portions, a source and tokenizer opened once a worker.

    Args:
      preparation: what to make.
    """

    def __init__(self, preparation: Preparation):
        super().__init__()
        self._preparation = preparation

    def setup(self) -> None:
        self._worker = Worker(self._preparation)

    def process(self, element: Portion) -> Iterator[str]:
        part = read_part(self._preparation, element) or self._worker.make(element)
        yield json.dumps(part)


def make_portions_with_beam(
    preparation: Preparation, portions: Sequence[Portion], options: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Makes the portions that are not made yet; returns the parts of all of them, in their order.

    Args:
      preparation: what to make.
      portions: all of it.
      options: Beam's, such as `--runner=DataflowRunner` or `--direct_num_workers=3`; none run it here.

    Raises:
      RuntimeError: if a worker fails; Beam says why.
    """
    pipeline_options = PipelineOptions(list(options))
    pipeline_options.view_as(SetupOptions).save_main_session = False
    with beam.Pipeline(options=pipeline_options) as pipeline:
        _ = (
            pipeline
            | "Portions" >> beam.Create(list(portions))
            | "Spread" >> beam.Reshuffle()
            | "Tokenise" >> beam.ParDo(MakePortion(preparation))
        )
    parts = [read_part(preparation, portion) for portion in portions]
    missing = [portion.name for portion, part in zip(portions, parts, strict=True) if part is None]
    if missing:
        raise RuntimeError(
            f"{len(missing)} of {len(portions)} portions were not made, the first {missing[0]}: run again"
        )
    return [part for part in parts if part is not None]
