# SPDX-License-Identifier: Apache-2.0
"""Cost models: FLOPs and memory of models, traffic and roofline of compiled programs."""
