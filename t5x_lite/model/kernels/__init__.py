# SPDX-License-Identifier: Apache-2.0
"""Operations written for memory and speed, each behind one function that reads like its formula."""
