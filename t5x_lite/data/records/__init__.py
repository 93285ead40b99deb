# SPDX-License-Identifier: Apache-2.0
"""From the records of a source to documents and pairs: templates, preprocessing and the held-out split."""
