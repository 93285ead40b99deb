# SPDX-License-Identifier: Apache-2.0
"""Meshes, sharding and processes."""
