# SPDX-License-Identifier: Apache-2.0
"""Weights in the zip format of `torch.save`."""

import pathlib

from t5x_lite.checkpoints.arrays import LazyArray


def read_header(path: pathlib.Path) -> dict[str, LazyArray]:
    """Raises ValueError: pickled weights are not read."""
    raise ValueError(
        f"{path} is a pickle, which can run arbitrary code when loaded: convert it once with transformers: "
        f"AutoModelForSeq2SeqLM.from_pretrained({str(path.parent)!r}).save_pretrained(NEW_DIRECTORY)"
    )
