# SPDX-License-Identifier: Apache-2.0
"""Files of lines that are written over a long time, by one process or several, and may be cut off at any moment."""
