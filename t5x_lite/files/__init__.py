# SPDX-License-Identifier: Apache-2.0
"""Files and terminal output: atomic writes, resumable JSON lines, SVG charts, the progress bar."""
