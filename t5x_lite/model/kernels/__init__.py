# SPDX-License-Identifier: Apache-2.0
"""The operations that take most of the time: attention, projections, and the cross entropy of the vocabulary."""
