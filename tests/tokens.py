"""A stream of tokens in memory, for tests of what is made of one."""

import numpy as np


class ArrayTokens:
    """`t5x_lite.data.corpus.shards.Tokens` of an array."""

    def __init__(self, ids):
        self.ids = np.asarray(ids)

    def __len__(self):
        return len(self.ids)

    def read(self, begin_B, end_B):
        return [self.ids[begin:end] for begin, end in zip(begin_B, end_B, strict=True)]
