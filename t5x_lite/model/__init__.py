# SPDX-License-Identifier: Apache-2.0
"""The T5 architecture. Start with `transformer.py`, which tells the story; `encoder.py` and `decoder.py` are models of
one stack; the other files are their parts.
"""
