# SPDX-License-Identifier: Apache-2.0
"""News summarisation: `summarize: An article.` -> `A summary.`

Source: T5 `preprocessors.summarize`, `tasks.py`.
"""

from t5x_lite.tasks.formats import from_tfds

# T5's cnn_dailymail_v002 uses version 3.1.0, which TFDS no longer prepares. According to its notes, 3.4.0 has two more
# fields, and no space before the periods that it adds to highlights.
CNN_DAILYMAIL = from_tfds(
    "cnn_dailymail:3.4.0", inputs="summarize: {article}", targets="{highlights}", metrics=("rouge",)
)
# Not a T5 task, but in T5's format.
XSUM = from_tfds("xsum:1.1.0", inputs="summarize: {document}", targets="{summary}", metrics=("rouge",))
