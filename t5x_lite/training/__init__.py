# SPDX-License-Identifier: Apache-2.0
"""Training: the loop, the update step, initialisation, logging and the run directory."""
