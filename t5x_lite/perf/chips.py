# SPDX-License-Identifier: Apache-2.0
"""Published specifications of accelerators."""

import dataclasses

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """The specification of one JAX device; bandwidths are in bytes/s."""

    name: str
    flops: float  # peak dense bfloat16 FLOP/s
    hbm_bytes: float  # available to programs
    hbm_bandwidth: float
    source: str
    ici_bandwidth: float | None = None  # sent over all links within a slice, one way; None without such links
    dcn_bandwidth: float | None = None  # sent to other slices: the chip's share of its host's NICs; None if unknown


TPU_DOCS = "https://cloud.google.com/tpu/docs/"
DATA_SHEET = "NVIDIA's data sheet"
# As reported by XLA; the chip has 16 GB.
V5E_USABLE = 15.75 * GIB
V5E_DCN, V6E_DCN = 6.4e12 / 8 / 256, 25.6e12 / 8 / 256  # a pod's bits/s, in bytes/s per chip

# By prefix of `device_kind`; the longest match wins. ICI is a TPU's links to its neighbours or a GPU's NVLink, whose
# published numbers count both directions and are halved here.
CHIPS = {
    "TPU v4": Chip("TPU v4", 275e12, 32 * GIB, 1_228e9, TPU_DOCS + "v4", 300e9 / 2),
    "TPU v5 lite": Chip("TPU v5e", 197e12, V5E_USABLE, 819e9, TPU_DOCS + "v5e", 400e9 / 2, V5E_DCN),
    "TPU v5": Chip("TPU v5p", 459e12, 95 * GIB, 2_765e9, TPU_DOCS + "v5p", 1_200e9 / 2, 50e9 / 8),
    "TPU v6 lite": Chip("TPU v6e", 918e12, 32 * GIB, 1_600e9, TPU_DOCS + "v6e", 800e9 / 2, V6E_DCN),
    "NVIDIA A100": Chip("A100", 312e12, 80e9, 2_039e9, f"{DATA_SHEET}s (SXM, 80 GB; DGX A100)", 600e9 / 2, 200e9 / 8),
    "NVIDIA H100 PCIe": Chip("H100 PCIe", 756e12, 80e9, 2_000e9, DATA_SHEET),
    "NVIDIA H100 NVL": Chip("H100 NVL", 835e12, 94e9, 3_900e9, DATA_SHEET),
    "NVIDIA H100": Chip("H100", 989e12, 80e9, 3_350e9, f"{DATA_SHEET}s (SXM; DGX H100)", 900e9 / 2, 400e9 / 8),
    "NVIDIA H200": Chip("H200", 989e12, 141e9, 4_800e9, f"{DATA_SHEET}s (SXM; DGX H200)", 900e9 / 2, 400e9 / 8),
    "NVIDIA B200": Chip("B200", 2_250e12, 180e9, 7_700e9, f"{DATA_SHEET}s (DGX B200)", 1_800e9 / 2, 400e9 / 8),
}
OTHER_NAMES = {"TPU v5e": "TPU v5 lite", "TPU v5p": "TPU v5", "TPU v6e": "TPU v6 lite"}


def chip_of(device_kind: str) -> Chip | None:
    """Returns the specification of a `device_kind`, or None for unknown devices, such as CPUs."""
    for name, kind in OTHER_NAMES.items():
        if device_kind.startswith(name):
            return CHIPS[kind]
    matches = [name for name in CHIPS if device_kind.startswith(name)]
    return CHIPS[max(matches, key=len)] if matches else None
