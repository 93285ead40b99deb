# SPDX-License-Identifier: Apache-2.0
"""Tokenised text on disk, which is prepared once (`prepare`) and opened by every run (`open`)."""
