# SPDX-License-Identifier: Apache-2.0
"""The T5 architecture. Start with `transformer.py`, which tells the story; the other files are its parts."""
