# SPDX-License-Identifier: Apache-2.0
"""How many bytes a compiled program reads from and writes to its chip's memory (HBM).

Each instruction reads its operands and writes its result, but for what XLA has placed in the chip's fast memory and for
what it only looks at a part of. A fusion counts as one instruction: what is inside of it goes through no memory.
"""

import re

from t5x_lite.cost.hlo import Array, Computation, Instruction, Module

# They move nothing, or what they move is counted where they start or in the computations that they call.
FREE = {"parameter", "constant", "get-tuple-element", "tuple", "bitcast", "while", "call", "conditional", "after-all"}
FREE |= {"opt-barrier", "partition-id", "replica-id", "iota"}
# Their results hold what comes out and, again, what goes in; and numbers that say how far they are.
BOTH_SIDES = {"copy-start", "slice-start", "collective-permute-start"}
BOTH_SIDES |= {f"{kind}-start" for kind in ("all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all")}
LIBRARIES = re.compile(r'custom_call_target="__cu(blas|dnn)')  # of GPUs; the last result is room to work in


def hbm_bytes(module: Module) -> int:
    """Returns the bytes that one run of the program moves between the chip and its memory."""
    return sum(times * _computation_bytes(module, computation) for computation, times in module.runs())


def _computation_bytes(module: Module, computation: Computation) -> int:
    results = {instruction.name: instruction for instruction in computation.instructions}
    total = 0
    for instruction in computation.instructions:
        if instruction.opcode in FREE or instruction.opcode.endswith("-done"):
            continue
        operands = [results[name] for name in instruction.operands if name in results]
        total += _moved(module, instruction, operands)
    return total


def _moved(module: Module, instruction: Instruction, operands: list[Instruction]) -> int:
    inner = _inside(module, instruction)
    if inner is not None:
        reads = sum(_read_by(inner, index, operand) for index, operand in enumerate(operands))
        return reads + _written_by(inner, instruction)
    if instruction.opcode in BOTH_SIDES:
        return sum(_in_memory(array) for array in instruction.arrays if array.num_bytes > 4)
    if LIBRARIES.search(instruction.attributes):
        return _all_in_memory(instruction) - _in_memory(instruction.arrays[-1]) + sum(map(_all_in_memory, operands))
    if instruction.opcode in ("dynamic-slice", "slice", "gather"):
        return 2 * _all_in_memory(instruction)
    if instruction.opcode in ("dynamic-update-slice", "scatter"):
        return 2 * sum(_all_in_memory(operand) for operand in operands[1:2])
    return _all_in_memory(instruction) + sum(_all_in_memory(operand) for operand in operands)


def _inside(module: Module, instruction: Instruction) -> Computation | None:
    if instruction.opcode != "fusion":
        return None
    called = module.called(instruction)
    return module.computations[called[0]] if called else None


def _read_by(inner: Computation, index: int, operand: Instruction) -> int:
    """What a fusion reads of an operand: of one that it only takes slices of, those."""
    parameter = next(
        (item for item in inner.instructions if item.opcode == "parameter" and item.literal == str(index)), None
    )
    if parameter is None:
        return _all_in_memory(operand)
    users = [item for item in inner.instructions if parameter.name in item.operands]
    if users and all(user.opcode in ("dynamic-slice", "slice", "gather") for user in users):
        share = sum(sum(array.num_bytes for array in user.arrays) for user in users)
        return min(share, _all_in_memory(operand))
    if users and all(user.opcode == "dynamic-update-slice" and user.operands[0] == parameter.name for user in users):
        return 0  # it is changed in place
    return _all_in_memory(operand)


def _written_by(inner: Computation, instruction: Instruction) -> int:
    root = inner.root
    while root.opcode in ("bitcast", "copy") and root.operands:
        before = inner.find(root.operands[0])
        if before is None:
            break
        root = before
    if root.opcode == "dynamic-update-slice":
        update = inner.find(root.operands[1])
        if update is not None:
            return min(sum(array.num_bytes for array in update.arrays), _all_in_memory(instruction))
    return _all_in_memory(instruction)


def _all_in_memory(instruction: Instruction) -> int:
    return sum(map(_in_memory, instruction.arrays))


def _in_memory(array: Array) -> int:
    return 0 if array.is_in_fast_memory else array.num_bytes
