# SPDX-License-Identifier: Apache-2.0
"""What XLA is told beyond its defaults: the one place that sets its flags.

They are compiler options of single programs, so that nothing else in the process is compiled differently.
"""

import os

import jax

YNN_FLAG = "xla_cpu_experimental_ynn_fusion_type"

CompilerOptions = dict[str, str | int] | None


def for_init(platform: str) -> CompilerOptions:
    """Returns the options to compile the drawing of a model's parameters with.

    It runs once. On a CPU, optimising it in full takes far longer than it saves: 25 seconds against 6 for a tiny model,
    to draw 77 million parameters in 1.5 seconds rather than 3.
    """
    return {"xla_backend_optimization_level": 1} if platform == "cpu" else None


def for_long_products(platform: str) -> CompilerOptions:
    """Returns the options for programs that take whole sequences: a train step, reading what is decoded from.

    A flag that XLA_FLAGS names keeps the value it has there. On a CPU, XLA of jax 0.10 hands products and reductions to
    its library YNNPACK. For reductions alone that is right: with products left to Eigen, a train step of T5 small takes
    2 to 5% less, its encoder 8% less. For the products of a decoding step, with few rows, YNNPACK is the faster one.
    """
    if platform != "cpu" or not jax.__version__.startswith("0.10.") or YNN_FLAG in os.environ.get("XLA_FLAGS", ""):
        return None
    return {YNN_FLAG: "LIBRARY_FUSION_TYPE_REDUCE"}


def for_gpus_elsewhere(platform: str) -> CompilerOptions:
    """Returns the options to compile for GPUs that are not here: what a compiler tries out on a GPU is left out.

    Products are cuBLAS's then; Triton's, whose tiles it would try, are refused where it cannot.
    """
    if platform not in ("gpu", "cuda"):
        return None
    return {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False}
