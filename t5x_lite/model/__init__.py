# SPDX-License-Identifier: Apache-2.0
"""T5 models. Start with `transformer.py`; `encoder.py` and `decoder.py` hold the single-stack models."""
