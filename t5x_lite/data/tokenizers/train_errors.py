# SPDX-License-Identifier: Apache-2.0
"""Says in terms of config fields why SentencePiece cannot train a vocabulary."""

import re


def cannot_train(message: str, vocab_size: int, num_sentinels: int) -> ValueError:
    """Rephrases a SentencePiece error in terms of config fields."""
    too_high = re.search(r"value <= (\d+)", message)
    too_low = re.search(r"required_chars\. \d+ vs (\d+)", message)
    if too_high:
        fits = f"the text supports at most {int(too_high[1]) + num_sentinels}; use that or less, or more text"
    elif too_low:
        fits = f"the text's characters alone need {int(too_low[1]) + num_sentinels}; use that or more"
    else:
        fits = f"SentencePiece says: {message}"
    return ValueError(
        f"cannot train a vocabulary of task.tokenizer.vocab_size {vocab_size} ids ({num_sentinels} sentinels): {fits}"
    )
