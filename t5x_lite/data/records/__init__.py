# SPDX-License-Identifier: Apache-2.0
"""Turns records into documents and pairs: templates, preprocessing and the held-out split."""
