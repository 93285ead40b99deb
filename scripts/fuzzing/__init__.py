# SPDX-License-Identifier: Apache-2.0
"""What `scripts/fuzz_models.py` opens: small model directories, and how they are damaged."""
