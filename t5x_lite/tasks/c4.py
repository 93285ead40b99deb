# SPDX-License-Identifier: Apache-2.0
"""C4, T5's pretraining text, with T5's span corruption: 15% of the tokens in spans of 3 on average.

The variants are from T5's comparison of datasets; TFDS has since dropped the `en.` from two names. T5 keeps even the
shortest documents.

Source: T5 `tasks.py`, c4_v220_span_corruption.
"""

from t5x_lite.config import TaskConfig

VERSION = "2.2.0"


def _task(config: str) -> TaskConfig:
    source = f"tfds:c4/{config}:{VERSION}"
    return TaskConfig(source=f"{source}@train", eval_source=f"{source}@validation", min_characters=1)


C4 = _task("en")
C4_NOCLEAN = _task("en.noclean")
C4_REALNEWSLIKE = _task("realnewslike")
C4_WEBTEXTLIKE = _task("webtextlike")
