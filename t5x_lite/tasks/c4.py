# SPDX-License-Identifier: Apache-2.0
"""C4, the text T5 was pretrained on, for span corruption of 15% in spans of 3 tokens.

The variants are those of T5's comparison of datasets; TFDS has since dropped the `en.` in the names of two. T5 keeps
even the shortest documents.

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
