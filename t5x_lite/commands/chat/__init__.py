# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite infer --interactive`: an interactive session in the terminal."""
