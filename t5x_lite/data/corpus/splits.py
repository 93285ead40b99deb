# SPDX-License-Identifier: Apache-2.0
"""Which documents are held out."""

import hashlib


def is_held_out(text: str, eval_percent: float) -> bool:
    """Whether a document is held out, from a hash of its text alone.

    So it does not depend on the other documents, on a seed or on the machine; and pairs with the same inputs, when
    these are the text, are on the same side.

    Args:
      text: of the document, or the inputs of a pair.
      eval_percent: expected share of the documents that is held out.
    """
    digest = hashlib.blake2b(text.encode(), digest_size=6).digest()  # 48 bits: exact in a float
    return int.from_bytes(digest, "big") / 2**48 < eval_percent / 100
