# SPDX-License-Identifier: Apache-2.0
"""Models to and from the files of Hugging Face and T5X, and the names each has for T5's parameters."""
