# SPDX-License-Identifier: Apache-2.0
"""T5 models. Start with `transformer.py`; `encoder.py` and `decoder.py` are models with one stack."""
