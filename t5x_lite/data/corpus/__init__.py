# SPDX-License-Identifier: Apache-2.0
"""Tokenised text on disk: prepared once (`prepare`), then opened by every run and worker process (`open`)."""
