# SPDX-License-Identifier: Apache-2.0
"""Decoding, scoring and prompting with trained models."""
