# SPDX-License-Identifier: Apache-2.0
"""What shows a model's attention and the probabilities of its tokens: a page to look around in, and a picture."""
