# SPDX-License-Identifier: Apache-2.0
"""Device meshes, sharding and multi-process runs."""
