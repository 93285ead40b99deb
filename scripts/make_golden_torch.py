# SPDX-License-Identifier: Apache-2.0
"""Writes small files with `torch.save`, and their contents as NumPy arrays.

    pip install torch
    python scripts/make_golden_torch.py [--output tests/checkpoints/golden_torch]

Writes `state_dict.bin`, a state_dict with metadata and with tied, transposed and sliced tensors of several dtypes; the
same without checksums, and in the format before torch 1.6; and the numbers in `expected.npz`.
"""

import argparse
import pathlib

import numpy as np
import torch


def main() -> None:
    """Writes all files."""
    parser = argparse.ArgumentParser(description="Writes golden files with torch.save.")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("tests/checkpoints/golden_torch"))
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    tensors = make_tensors()
    torch.save(tensors, output / "state_dict.bin")
    torch.save(tensors, output / "legacy.bin", _use_new_zipfile_serialization=False)
    torch.serialization.set_crc32_options(False)
    torch.save(tensors, output / "no_checksums.bin")
    arrays = {name: tensor.detach().double().numpy() for name, tensor in tensors.items()}
    np.savez_compressed(output / "expected.npz", allow_pickle=False, **arrays)


def make_tensors() -> dict[str, torch.Tensor]:
    """Returns the tensors of a state_dict, which also has metadata."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Embedding(7, 5), torch.nn.Linear(5, 7, bias=False))
    module[1].weight = module[0].weight
    tensors = module.state_dict()
    large = torch.randn(4, 6, 3)
    tensors["transposed"] = large.permute(2, 0, 1)
    tensors["sliced"] = large[1:3, ::2]
    tensors["row"] = torch.randn(1, 9)[:, 2:]
    tensors["scalar"] = torch.tensor(2.5)
    tensors["empty"] = torch.empty(0, 3)
    tensors["parameter"] = torch.nn.Parameter(torch.randn(3))
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        tensors[str(dtype)] = torch.randn(2, 5).to(dtype)
    return tensors


if __name__ == "__main__":
    main()
