# SPDX-License-Identifier: Apache-2.0
"""Cost models: FLOPs and memory of models, and the traffic and roofline of compiled programs."""
