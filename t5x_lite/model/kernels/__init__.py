# SPDX-License-Identifier: Apache-2.0
"""The most expensive operations: attention, projections, and the cross entropy over the vocabulary."""
