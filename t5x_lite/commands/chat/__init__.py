# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite infer --interactive`: a prompt in the terminal."""
