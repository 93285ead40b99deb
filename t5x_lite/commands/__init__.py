# SPDX-License-Identifier: Apache-2.0
"""The commands of `t5x-lite`, one module or package each; none imports another."""
