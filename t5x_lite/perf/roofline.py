# SPDX-License-Identifier: Apache-2.0
"""The roofline of a compiled program: lower bounds on its time from compute, memory and network."""

import dataclasses
from collections.abc import Sequence

from t5x_lite.perf.chips import Chip
from t5x_lite.perf.collectives import Traffic


@dataclasses.dataclass(frozen=True, kw_only=True)
class Roofline:
    """Time per execution of a program, by resource."""

    compute_seconds: float  # including recomputation
    hbm_seconds: float
    ici_seconds: float  # within a slice, over all links of a chip
    dcn_seconds: float  # between slices
    bound: str  # the resource that takes longest
    fastest_seconds: float  # if all resources overlap
    slowest_seconds: float  # if none overlap
    mfu_bound: float  # MFU if all resources overlap; recomputation does not count
    inputs: dict[str, float | str | None]  # the numbers used, and their source


def roofline(
    chip: Chip, *, model_flops: float, recompute_flops: float, hbm_bytes: float, traffic: Sequence[Traffic]
) -> Roofline:
    """Returns the roofline of one execution of a program; all numbers are per chip.

    Raises ValueError if the program uses a network of unknown bandwidth.
    """
    sent = {"ici": 0, "dcn": 0}
    for row in traffic:
        sent[row.network] += row.bytes_sent
    speeds = {"ici": chip.ici_bandwidth, "dcn": chip.dcn_bandwidth}
    seconds = {"compute": (model_flops + recompute_flops) / chip.flops, "hbm": hbm_bytes / chip.hbm_bandwidth}
    for network, speed in speeds.items():
        if sent[network] and speed is None:
            raise ValueError(f"the program uses {network}, and the {network} bandwidth of {chip.name} is unknown")
        seconds[network] = sent[network] / speed if speed else 0.0
    bound = max(seconds, key=lambda part: seconds[part])
    return Roofline(
        **{f"{part}_seconds": value for part, value in seconds.items()},
        bound=bound,
        fastest_seconds=seconds[bound],
        slowest_seconds=sum(seconds.values()),
        mfu_bound=model_flops / chip.flops / seconds[bound] if seconds[bound] else 0.0,
        inputs={
            "chip": chip.name,
            "flops_per_second": chip.flops,
            "hbm_bytes_per_second": chip.hbm_bandwidth,
            "ici_bytes_per_second_one_way": chip.ici_bandwidth,
            "dcn_bytes_per_second": chip.dcn_bandwidth,
            "hbm_bytes": hbm_bytes,
            "ici_bytes": sent["ici"],
            "dcn_bytes": sent["dcn"],
            "source": chip.source,
        },
    )
