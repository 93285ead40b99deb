# SPDX-License-Identifier: Apache-2.0
"""Models to and from the files of other libraries."""
