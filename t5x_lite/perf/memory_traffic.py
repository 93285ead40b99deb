# SPDX-License-Identifier: Apache-2.0
"""HBM traffic of a compiled program.

Each instruction reads its operands and writes its result, except for arrays in on-chip memory and unused parts of
sliced arrays. A fusion counts as one instruction, since its intermediates never reach HBM.
"""

import re
from collections.abc import Iterator

from t5x_lite.perf.hlo import Array, Computation, Instruction, Module

# Instructions without traffic, or whose traffic is counted elsewhere, such as in the computations they call.
FREE = {"parameter", "constant", "get-tuple-element", "tuple", "bitcast", "while", "call", "conditional", "after-all"}
FREE |= {"opt-barrier", "partition-id", "replica-id", "iota"}
# Instructions whose results contain operands, outputs and progress counters.
BOTH_SIDES = {"copy-start", "collective-permute-start"}
BOTH_SIDES |= {f"{kind}-start" for kind in ("all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all")}
RESERVED = 'custom_call_target="AllocateBuffer"'  # allocates without writing
LIBRARIES = re.compile(r'custom_call_target="__cu(blas|dnn)')  # GPU libraries; the last result is a workspace


def hbm_bytes(module: Module) -> int:
    """Returns the HBM bytes read and written by one execution of the program."""
    return sum(times * _computation_bytes(module, computation) for computation, times in module.runs())


def _computation_bytes(module: Module, computation: Computation) -> int:
    results = {instruction.name: instruction for instruction in computation.instructions}
    total = 0
    for instruction in computation.instructions:
        if instruction.opcode in FREE or instruction.opcode.endswith("-done"):
            continue
        operands = [results[name] for name in instruction.operands if name in results]
        total += _instruction_bytes(module, instruction, operands)
    return total


def _instruction_bytes(module: Module, instruction: Instruction, operands: list[Instruction]) -> int:
    inner = _fused(module, instruction)
    if inner is not None:
        sizes = [_all_in_memory(operand) for operand in operands]
        reads = sum(_read_by(module, inner, index, size) for index, size in enumerate(sizes))
        return reads + _written_by(module, inner, instruction)
    if instruction.opcode in BOTH_SIDES:
        return sum(_in_memory(array) for array in instruction.arrays if array.num_bytes > 4)
    if instruction.opcode == "slice-start":  # results are the operand, then the slice
        source, part = instruction.arrays[:2]
        return _in_memory(part) + (0 if source.is_in_fast_memory else part.num_bytes)
    if LIBRARIES.search(instruction.attributes):
        return _all_in_memory(instruction) - _in_memory(instruction.arrays[-1]) + sum(map(_all_in_memory, operands))
    if instruction.opcode in ("dynamic-slice", "slice", "gather"):
        return 2 * _all_in_memory(instruction)
    if instruction.opcode in ("dynamic-update-slice", "scatter"):
        return 2 * sum(_all_in_memory(operand) for operand in operands[1:2])
    if RESERVED in instruction.attributes:
        return 0
    return _all_in_memory(instruction) + sum(_all_in_memory(operand) for operand in operands)


def _fused(module: Module, instruction: Instruction) -> Computation | None:
    if instruction.opcode != "fusion":
        return None
    called = module.called(instruction)
    return module.computations[called[0]] if called else None


def _read_by(module: Module, inner: Computation, index: int, num_bytes: int) -> int:
    """Returns the bytes of an operand that a fusion reads, fewer than `num_bytes` if it only reads slices."""
    parameter = next(
        (item for item in inner.instructions if item.opcode == "parameter" and item.literal == str(index)), None
    )
    if parameter is None:
        return num_bytes
    reads = [_read_by_user(module, user, name, num_bytes) for user, name in _users(inner, parameter.name)]
    return min(sum(reads), num_bytes) if reads else num_bytes


def _users(inner: Computation, name: str) -> Iterator[tuple[Instruction, str]]:
    """Yields the users of an array, directly or through bitcasts, and its name there."""
    for item in inner.instructions:
        if name in item.operands:
            if item.opcode == "bitcast":
                yield from _users(inner, item.name)
            else:
                yield item, name


def _read_by_user(module: Module, user: Instruction, name: str, num_bytes: int) -> int:
    nested = _fused(module, user)
    if nested is not None:
        places = [index for index, operand in enumerate(user.operands) if operand == name]
        return sum(_read_by(module, nested, index, num_bytes) for index in places)
    if user.opcode in ("dynamic-slice", "slice", "gather"):
        return sum(array.num_bytes for array in user.arrays)
    return 0 if user.opcode == "dynamic-update-slice" and user.operands[0] == name else num_bytes  # updated in place


def _written_by(module: Module, inner: Computation, instruction: Instruction) -> int:
    root = _producer(inner, inner.root)
    results = [inner.find(name) for name in root.operands] if root.opcode == "tuple" else [root]
    if len(results) != len(instruction.arrays):  # nested tuples
        return _all_in_memory(instruction)
    return sum(
        _written(module, inner, result, array) for result, array in zip(results, instruction.arrays, strict=True)
    )


def _written(module: Module, inner: Computation, result: Instruction | None, array: Array) -> int:
    """Returns the bytes of a result that are written, fewer than its size if it is updated in place."""
    if result is None:
        return _in_memory(array)
    result = _producer(inner, result)
    nested = _fused(module, result)
    if nested is not None and len(result.arrays) == 1:
        return _written(module, nested, nested.root, array)
    update = inner.find(result.operands[1]) if result.opcode == "dynamic-update-slice" else None
    if update is None:
        return _in_memory(array)
    return min(sum(part.num_bytes for part in update.arrays), _in_memory(array))


def _producer(inner: Computation, result: Instruction) -> Instruction:
    """Returns the instruction that computes a result, skipping bitcasts and copies."""
    while result.opcode in ("bitcast", "copy") and result.operands:
        source = inner.find(result.operands[0])
        if source is None:
            break
        result = source
    return result


def _all_in_memory(instruction: Instruction) -> int:
    return sum(map(_in_memory, instruction.arrays))


def _in_memory(array: Array) -> int:
    return 0 if array.is_in_fast_memory else array.num_bytes
