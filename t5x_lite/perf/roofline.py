# SPDX-License-Identifier: Apache-2.0
"""How fast a program can be at best: what it asks of each part of a chip, over what that part can do."""

import dataclasses
from collections.abc import Sequence

from t5x_lite.perf.chips import Chip
from t5x_lite.perf.collectives import Traffic


@dataclasses.dataclass(frozen=True, kw_only=True)
class Roofline:
    """Seconds that each part of a chip is busy in one run of a program, if nothing else holds it up.

    Args:
      compute_seconds: of the FLOPs, those of recomputation among them.
      hbm_seconds: of reading and writing memory.
      ici_seconds: of sending within a slice, over all links of a chip at once.
      dcn_seconds: of sending between slices.
      bound: the part that is busy longest.
      fastest_seconds: where everything overlaps.
      slowest_seconds: where nothing does.
      mfu_bound: share of the peak FLOP/s that the model's own FLOPs reach where everything overlaps.
      inputs: the numbers that this is made of, and their source.
    """

    compute_seconds: float
    hbm_seconds: float
    ici_seconds: float
    dcn_seconds: float
    bound: str
    fastest_seconds: float
    slowest_seconds: float
    mfu_bound: float
    inputs: dict[str, float | str | None]


def roofline(
    chip: Chip, *, model_flops: float, recompute_flops: float, hbm_bytes: float, traffic: Sequence[Traffic]
) -> Roofline:
    """Returns the bounds of one run of a program.

    Args:
      chip: it runs on.
      model_flops: of a chip, without recomputation.
      recompute_flops: of a chip, beside them.
      hbm_bytes: that a chip moves.
      traffic: that a chip sends.

    Raises:
      ValueError: if it sends over a network whose speed is not known.
    """
    sent = {"ici": 0, "dcn": 0}
    for row in traffic:
        sent[row.network] += row.bytes_sent
    speeds = {"ici": chip.ici_bandwidth, "dcn": chip.dcn_bandwidth}
    seconds = {"compute": (model_flops + recompute_flops) / chip.flops, "hbm": hbm_bytes / chip.hbm_bandwidth}
    for network, speed in speeds.items():
        if sent[network] and speed is None:
            raise ValueError(f"the {network} bandwidth of {chip.name} is not known, and the program needs it")
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
