# SPDX-License-Identifier: Apache-2.0
"""Published specifications of accelerators."""

import dataclasses

GIB = 2**30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chip:
    """One JAX device.

    Args:
      name: the common name.
      flops: peak dense bfloat16 FLOP/s.
      hbm_bytes: memory that programs can use.
      hbm_bandwidth: memory bandwidth in bytes/s.
      ici_bandwidth: bytes/s sent over all links within a slice, in one direction; None without such links.
      dcn_bandwidth: bytes/s sent to other slices, the chip's share of its host's network cards; None if unknown.
      source: source of these numbers.
    """

    name: str
    flops: float
    hbm_bytes: float
    hbm_bandwidth: float
    ici_bandwidth: float | None = None
    dcn_bandwidth: float | None = None
    source: str


TPU_DOCS = "https://cloud.google.com/tpu/docs/"
DATA_SHEET = "NVIDIA's data sheet"
# The part of v5e's 16 GB that XLA reports as available to programs.
V5E_USABLE = 15.75 * GIB

# By the prefix of `device_kind`; the longest match wins. Published link bandwidths count both directions and are halved
# here: a TPU's links to its neighbours, a GPU's NVLink within its host. DCN per chip is that of a pod or a host, divided
# by its chips.
CHIPS = {
    "TPU v4": Chip(
        name="TPU v4",
        flops=275e12,
        hbm_bytes=32 * GIB,
        hbm_bandwidth=1_228e9,
        ici_bandwidth=300e9 / 2,
        source=TPU_DOCS + "v4",
    ),
    "TPU v5 lite": Chip(
        name="TPU v5e",
        flops=197e12,
        hbm_bytes=V5E_USABLE,
        hbm_bandwidth=819e9,
        ici_bandwidth=400e9 / 2,
        dcn_bandwidth=6.4e12 / 8 / 256,
        source=TPU_DOCS + "v5e",
    ),
    "TPU v5": Chip(
        name="TPU v5p",
        flops=459e12,
        hbm_bytes=95 * GIB,
        hbm_bandwidth=2_765e9,
        ici_bandwidth=1_200e9 / 2,
        dcn_bandwidth=50e9 / 8,
        source=TPU_DOCS + "v5p",
    ),
    "TPU v6 lite": Chip(
        name="TPU v6e",
        flops=918e12,
        hbm_bytes=32 * GIB,
        hbm_bandwidth=1_600e9,
        ici_bandwidth=800e9 / 2,
        dcn_bandwidth=25.6e12 / 8 / 256,
        source=TPU_DOCS + "v6e",
    ),
    "NVIDIA A100": Chip(
        name="A100",
        flops=312e12,
        hbm_bytes=80e9,
        hbm_bandwidth=2_039e9,
        ici_bandwidth=600e9 / 2,
        dcn_bandwidth=200e9 / 8,
        source=f"{DATA_SHEET}s (SXM, 80 GB; DGX A100)",
    ),
    "NVIDIA H100 PCIe": Chip(name="H100 PCIe", flops=756e12, hbm_bytes=80e9, hbm_bandwidth=2_000e9, source=DATA_SHEET),
    "NVIDIA H100 NVL": Chip(name="H100 NVL", flops=835e12, hbm_bytes=94e9, hbm_bandwidth=3_900e9, source=DATA_SHEET),
    "NVIDIA H100": Chip(
        name="H100",
        flops=989e12,
        hbm_bytes=80e9,
        hbm_bandwidth=3_350e9,
        ici_bandwidth=900e9 / 2,
        dcn_bandwidth=400e9 / 8,
        source=f"{DATA_SHEET}s (SXM; DGX H100)",
    ),
    "NVIDIA H200": Chip(
        name="H200",
        flops=989e12,
        hbm_bytes=141e9,
        hbm_bandwidth=4_800e9,
        ici_bandwidth=900e9 / 2,
        dcn_bandwidth=400e9 / 8,
        source=f"{DATA_SHEET}s (SXM; DGX H200)",
    ),
    "NVIDIA B200": Chip(
        name="B200",
        flops=2_250e12,
        hbm_bytes=180e9,
        hbm_bandwidth=7_700e9,
        ici_bandwidth=1_800e9 / 2,
        dcn_bandwidth=400e9 / 8,
        source=f"{DATA_SHEET}s (DGX B200)",
    ),
}
OTHER_NAMES = {"TPU v5e": "TPU v5 lite", "TPU v5p": "TPU v5", "TPU v6e": "TPU v6 lite"}


def chip_of(device_kind: str) -> Chip | None:
    """Returns the specification of a `device_kind`, or None for unknown devices, such as CPUs."""
    for name, kind in OTHER_NAMES.items():
        if device_kind.startswith(name):
            return CHIPS[kind]
    matches = [name for name in CHIPS if device_kind.startswith(name)]
    return CHIPS[max(matches, key=len)] if matches else None
