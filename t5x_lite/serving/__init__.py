# SPDX-License-Identifier: Apache-2.0
"""A server that speaks OpenAI's protocol."""
