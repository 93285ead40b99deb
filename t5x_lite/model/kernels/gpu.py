# SPDX-License-Identifier: Apache-2.0
"""Attention with T5's relative position bias as Pallas kernels for NVIDIA GPUs (Triton), which never write logits.

A program computes one block of queries (or of keys, for their gradients) of one head and loops over the others. Arrays
stay as the projections leave them, heads side by side. The bias is gathered from its values by distance, a kilobyte per
head that stays in the L1 cache; blocks of queries and keys that are far apart share one value, so that nearly all of a
long sequence needs no gather.

The backward pass gets the output and the softmax's maximum and normaliser of each query besides the inputs: the
gradient of the output's projection needs the output anyway, and the rest is 8 bytes per query and head, which save two
of nine products. The maximum is kept apart, as the logarithm of the sum would be rounded away beside -1e10. One kernel
computes the gradient of the queries, one that of keys and values, and a third that of the bias where it depends on the
distance: each of its programs sums one block diagonal, and XLA the rest, all in a fixed order.

Shape letters: B batch, T queries, S keys, N heads, H head, A = N * H, D distances, P parts of a sum, E block diagonals;
within a kernel t queries and s keys of a block, r either.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from t5x_lite.model.kernels import plan as plans
from t5x_lite.model.kernels.bias_tiles import toeplitz
from t5x_lite.model.kernels.choice import TILE
from t5x_lite.model.kernels.reference import MASKED_LOGIT

BLOCK_BYTES = 16_384  # of one operand; the backward pass has four in shared memory, two of them twice
SHORTEST_BLOCK, LONGEST_BLOCK = 16, 64
NUM_PARTS = 8  # of the bias's gradient, to have some programs for every multiprocessor
FLOATS = jnp.float32


class Plan(plans.Plan):
    """The blocks of a call on a GPU."""

    @property
    def lanes(self) -> int:
        """What the width of the arrays has to be a multiple of."""
        return self.head_dim

    def block(self, dtype) -> int:
        """The number of queries or keys in a block, which divides TILE."""
        rows = BLOCK_BYTES // (self.head_dim * jnp.dtype(dtype).itemsize)
        return min(LONGEST_BLOCK, max(SHORTEST_BLOCK, rows))

    def diagonals(self, block: int) -> range:
        """The differences between the numbers of a block of keys and of queries at which the bias is not constant."""
        farthest = -(-(self.largest - 1) // block)
        return range(-farthest, 1 if self.is_causal else farthest + 1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def fused(plan: Plan, q_BTA, k_BSA, v_BSA, bias_ND, places) -> jax.Array:
    """Returns softmax(q k + bias) v, shaped [B, T, A], of the heads and the batch that one device holds.

    Args:
      plan: the static description of the call.
      q_BTA: queries.
      k_BSA: keys.
      v_BSA: values.
      bias_ND: from `bias_values`, for distances of up to `plan.largest`, or None.
      places: ((codes_BT, codes_BS), offset): codes are int32, twice the number of the segment and 1 in a prefix, or
        None instead of both if all see all; offset is int32 [1], the blocks of 128 tokens by which the queries'
        positions are ahead of the keys'.
    """
    return _forward(plan, q_BTA, k_BSA, v_BSA, bias_ND, places)[0]


def largest_distance(max_distance: int) -> int:
    """Returns the largest distance whose bias is read, if all from `max_distance` on have the same."""
    return max_distance


class _Rows(NamedTuple):
    """A block of queries or keys."""

    first: jax.Array
    places_r: jax.Array  # their positions
    is_real_r: jax.Array | None  # whether there are such queries or keys; None if there surely are
    codes_r: jax.Array | None


class _Queries(NamedTuple):
    """What the backward pass needs of a block of queries."""

    rows: _Rows
    q_tH: jax.Array
    do_tH: jax.Array
    highest_t: jax.Array
    inverse_t: jax.Array
    shared_t: jax.Array  # the sum of weights times their gradients


class _Head:
    """One head of one example: its arrays by block, and the logits between two blocks.

    They are shaped [t, s], or [s, t] if `is_transposed`: in either case they are the left factor of what they are
    multiplied with, which tensor cores can take from registers.
    """

    def __init__(self, plan: Plan, refs: dict, place, query_block: int, key_block: int, *, is_transposed=False):
        self.plan, self.refs = plan, refs
        self.head, self.example = place
        self.query_block, self.key_block = query_block, key_block
        self.is_transposed = is_transposed
        self.offset = refs["offset"][0] * TILE

    def queries(self, index: jax.Array) -> _Rows:
        """Returns a block of queries."""
        return self._rows(index, self.query_block, self.plan.num_queries, self.offset, "query_codes")

    def keys(self, index: jax.Array, *, exist: bool = True) -> _Rows:
        """Returns a block of keys; unless they `exist`, the index may be any number."""
        return self._rows(index, self.key_block, self.plan.num_keys, 0, "key_codes", exist=exist)

    def _rows(self, index, size: int, num: int, offset, codes: str, *, exist: bool = True) -> _Rows:
        tokens_r = index * size + jnp.arange(size)
        is_real_r = None if exist and num % size == 0 else (tokens_r >= 0) & (tokens_r < num)
        rows = _Rows(index * size, tokens_r + offset, is_real_r, None)
        has_codes = self.plan.has_codes or self.plan.has_prefix
        return rows._replace(codes_r=self.load_numbers(codes, rows, (self.example,), 0)) if has_codes else rows

    def at(self, name: str, rows: _Rows):
        """Returns the reference to these rows of this head."""
        lanes = pl.ds(self.head * self.plan.head_dim, self.plan.head_dim)
        return self.refs[name].at[self.example, pl.ds(rows.first, rows.places_r.size), lanes]

    def load(self, name: str, rows: _Rows) -> jax.Array:
        """Returns x_rH, zero where there are no rows."""
        return _load(self.at(name, rows), None if rows.is_real_r is None else rows.is_real_r[:, None], 0)

    def load_numbers(self, name: str, rows: _Rows, place: tuple, other) -> jax.Array:
        """Returns a number for each row, `other` where there are no rows."""
        return _load(self.refs[name].at[(*place, pl.ds(rows.first, rows.places_r.size))], rows.is_real_r, other)

    def store(self, name: str, rows: _Rows, x_rH: jax.Array) -> None:
        """Writes these rows of this head."""
        mask = None if rows.is_real_r is None else rows.is_real_r[:, None]
        plgpu.store(self.at(name, rows), x_rH.astype(self.refs[name].dtype), mask=mask)

    def store_numbers(self, name: str, rows: _Rows, x_r: jax.Array) -> None:
        """Writes a number for each row."""
        place = (self.example, self.head, pl.ds(rows.first, rows.places_r.size))
        plgpu.store(self.refs[name].at[place], x_r, mask=rows.is_real_r)

    def gradient_queries(self, index: jax.Array) -> _Queries:
        """Returns a block of queries for the backward pass, whose weights are zero where there are no queries."""
        rows = self.queries(index)
        numbers = (
            self.load_numbers(name, rows, (self.example, self.head), other)
            for name, other in (("highest", jnp.inf), ("inverse", 0), ("shared", 0))
        )
        return _Queries(rows, self.load("q", rows), self.load("do", rows), *numbers)

    def across_keys(self, x_t: jax.Array) -> jax.Array:
        """Returns numbers of queries so that they broadcast over keys."""
        return x_t[None, :] if self.is_transposed else x_t[:, None]

    def across_queries(self, x_s: jax.Array) -> jax.Array:
        """Returns numbers of keys so that they broadcast over queries."""
        return x_s[:, None] if self.is_transposed else x_s[None, :]

    def logits(self, queries: _Rows, keys: _Rows, q_tH, k_sH, far: int | None) -> jax.Array:
        """Returns the logits, -inf where there are no keys; `far` is the bias's index if all have the same."""
        plan = self.plan
        logits = _dot(k_sH, q_tH, 1, 1) if self.is_transposed else _dot(q_tH, k_sH, 1, 1)
        distances = self.across_queries(keys.places_r) - self.across_keys(queries.places_r)
        if plan.largest and far is None:
            index = jnp.clip(distances, -plan.largest, plan.largest) + plan.largest
            logits += plgpu.load(self.refs["bias"].at[self.head, index])
        elif plan.largest:
            logits += self.refs["bias"][self.head, far]
        if queries.codes_r is not None and keys.codes_r is not None:
            codes = self.across_keys(queries.codes_r), self.across_queries(keys.codes_r)
            logits = jnp.where(_visible(plan, *codes, distances), logits, MASKED_LOGIT)
        if keys.is_real_r is not None:
            logits = jnp.where(self.across_queries(keys.is_real_r), logits, -jnp.inf)
        return logits

    def gradients(self, queries: _Queries, keys: _Rows, k_sH, v_sH, far: int | None) -> tuple[jax.Array, jax.Array]:
        """Returns the weights and the gradient of the logits, both float32."""
        logits = self.logits(queries.rows, keys, queries.q_tH, k_sH, far)
        highest, inverse, shared = map(self.across_keys, (queries.highest_t, queries.inverse_t, queries.shared_t))
        weights = jnp.exp(logits - highest) * inverse
        do_tH = queries.do_tH
        dweights = _dot(v_sH, do_tH, 1, 1) if self.is_transposed else _dot(do_tH, v_sH, 1, 1)
        return weights, weights * (dweights - shared)

    def ranges(self, fixed: _Rows, *, of_keys: bool) -> list[tuple]:
        """Returns (first, end, far) of the blocks of keys that a block of queries sees, or the other way round.

        Before and after the blocks where the bias depends on the distance come those where it does not; `far` is its
        index there, and otherwise None.
        """
        plan = self.plan
        num, size, first = plan.num_queries, self.query_block, fixed.first - self.offset  # in tokens of the others
        if of_keys:
            num, size, first = plan.num_keys, self.key_block, fixed.first + self.offset
        last = first + fixed.places_r.size
        start, end = 0, pl.cdiv(num, size)
        if plan.is_causal and of_keys:
            end = jnp.minimum(end, _blocks(last + size - 1, size))
        elif plan.is_causal:
            start = jnp.minimum(end, _blocks(first, size))
        if not plan.largest:
            return [(start, end, None)]
        near = jnp.clip(_blocks(first - (plan.largest - 1), size), start, end)
        near_end = jnp.clip(_blocks(last + (plan.largest - 1) + size - 1, size), near, end)
        before, after = (0, 2 * plan.largest) if of_keys else (2 * plan.largest, 0)
        found = [(start, near, before), (near, near_end, None), (near_end, end, after)]
        return found if not plan.is_causal else found[:2] if of_keys else found[1:]


def _blocks(tokens: jax.Array, size: int) -> jax.Array:
    """Returns how many whole blocks fit into so many tokens."""
    return jax.lax.div(jnp.maximum(tokens, 0), size)


def _visible(plan: Plan, query_codes, key_codes, distances) -> jax.Array:
    if not plan.has_prefix:
        return key_codes == query_codes
    return ((key_codes >> 1) == (query_codes >> 1)) & ((distances <= 0) | ((key_codes & query_codes & 1) == 1))


def _load(ref, mask, other) -> jax.Array:
    return plgpu.load(ref) if mask is None else plgpu.load(ref, mask=mask, other=other)


def _dot(x: jax.Array, y: jax.Array, x_dim: int, y_dim: int) -> jax.Array:
    # At JAX's precision, as in the reference: by default, XLA and Triton round float32 factors to TF32 on GPUs.
    return jax.lax.dot_general(x, y, (((x_dim,), (y_dim,)), ((), ())), preferred_element_type=FLOATS)


def _loop(ranges: list[tuple], step, carry):
    """Runs `carry = step(index, carry, far=far)` over ranges of blocks."""
    for first, end, far in ranges:
        carry = jax.lax.fori_loop(first, end, functools.partial(step, far=far), carry)
    return carry


def _forward_kernel(names, plan: Plan, query_block: int, key_block: int, *refs) -> None:
    named = dict(zip(names, refs, strict=True))
    head = _Head(plan, named, (pl.program_id(1), pl.program_id(2)), query_block, key_block)
    queries = head.queries(pl.program_id(0))
    q_tH = head.load("q", queries)

    def step(index, carry, far):
        highest_t, total_t, sums_tH = carry
        keys = head.keys(index)
        logits_ts = head.logits(queries, keys, q_tH, head.load("k", keys), far)
        new_t = jnp.maximum(highest_t, jnp.max(logits_ts, axis=1))
        exp_ts, scale_t = jnp.exp(logits_ts - new_t[:, None]), jnp.exp(highest_t - new_t)
        sums_tH = sums_tH * scale_t[:, None] + _dot(exp_ts.astype(q_tH.dtype), head.load("v", keys), 1, 0)
        return new_t, total_t * scale_t + jnp.sum(exp_ts, axis=1), sums_tH

    zeros_t = jnp.zeros((query_block,), FLOATS)
    start = (zeros_t - jnp.inf, zeros_t, jnp.zeros(q_tH.shape, FLOATS))
    highest_t, total_t, sums_tH = _loop(head.ranges(queries, of_keys=True), step, start)
    head.store("out", queries, sums_tH / total_t[:, None])
    head.store_numbers("highest", queries, highest_t)
    head.store_numbers("inverse", queries, 1 / total_t)


def _query_kernel(names, plan: Plan, query_block: int, key_block: int, *refs) -> None:
    """Computes dq, and per query the gradients of the bias before and after the distances where it varies."""
    named = dict(zip(names, refs, strict=True))
    head = _Head(plan, named, (pl.program_id(1), pl.program_id(2)), query_block, key_block)
    queries = head.gradient_queries(pl.program_id(0))

    def step(index, carry, far):
        dq_tH, before_t, after_t = carry
        keys = head.keys(index)
        k_sH = head.load("k", keys)
        _, dlogits_ts = head.gradients(queries, keys, k_sH, head.load("v", keys), far)
        dq_tH += _dot(dlogits_ts.astype(k_sH.dtype), k_sH, 1, 0)
        if far == 0:
            before_t += jnp.sum(dlogits_ts, axis=1)
        elif far is not None:
            after_t += jnp.sum(dlogits_ts, axis=1)
        return dq_tH, before_t, after_t

    zeros_t = jnp.zeros((query_block,), FLOATS)
    start = (jnp.zeros(queries.q_tH.shape, FLOATS), zeros_t, zeros_t)
    dq_tH, before_t, after_t = _loop(head.ranges(queries.rows, of_keys=True), step, start)
    head.store("dq", queries.rows, dq_tH)
    if plan.largest:
        head.store_numbers("before", queries.rows, before_t)
        head.store_numbers("after", queries.rows, after_t)


def _key_kernel(names, plan: Plan, query_block: int, key_block: int, *refs) -> None:
    """Computes dk and dv."""
    named = dict(zip(names, refs, strict=True))
    head = _Head(plan, named, (pl.program_id(1), pl.program_id(2)), query_block, key_block, is_transposed=True)
    keys = head.keys(pl.program_id(0))
    k_sH, v_sH = head.load("k", keys), head.load("v", keys)

    def step(index, carry, far):
        dk_sH, dv_sH = carry
        queries = head.gradient_queries(index)
        weights_st, dlogits_st = head.gradients(queries, keys, k_sH, v_sH, far)
        dv_sH += _dot(weights_st.astype(v_sH.dtype), queries.do_tH, 1, 0)
        dk_sH += _dot(dlogits_st.astype(k_sH.dtype), queries.q_tH, 1, 0)
        return dk_sH, dv_sH

    zeros_sH = jnp.zeros(k_sH.shape, FLOATS)
    dk_sH, dv_sH = _loop(head.ranges(keys, of_keys=False), step, (zeros_sH, zeros_sH))
    head.store("dk", keys, dk_sH)
    head.store("dv", keys, dv_sH)


def _bias_kernel(names, plan: Plan, query_block: int, key_block: int, *refs) -> None:
    """Sums the logits' gradient of the blocks of one head on one diagonal, over a part of the batch and the queries."""
    named = dict(zip(names, refs, strict=True))
    diagonal, number, part = (pl.program_id(axis) for axis in range(3))
    num_blocks = pl.cdiv(plan.num_queries, query_block)
    total = named["q"].shape[0] * num_blocks
    steps = pl.cdiv(total, NUM_PARTS)
    ahead = diagonal + plan.diagonals(key_block).start

    def step(index, sums_st):
        example, block = jax.lax.div(index, num_blocks), jax.lax.rem(index, num_blocks)
        head = _Head(plan, named, (number, example), query_block, key_block, is_transposed=True)
        queries = head.gradient_queries(block)
        keys = head.keys(block + jax.lax.div(head.offset, key_block) + ahead, exist=False)
        return sums_st + head.gradients(queries, keys, head.load("k", keys), head.load("v", keys), None)[1]

    first = part * steps
    zeros_st = jnp.zeros((key_block, query_block), FLOATS)
    sums_st = jax.lax.fori_loop(first, jnp.minimum(first + steps, total), step, zeros_st)
    named["blocks"][part, number, diagonal] = sums_st


def _call(kernel, plan: Plan, grid, blocks: tuple[int, int], operands: dict, results: dict) -> dict:
    """Runs a kernel on whole arrays and returns its results by name."""
    names = (*operands, *results)
    found = pl.pallas_call(
        functools.partial(kernel, names, plan, *blocks),
        out_shape=list(results.values()),
        grid=grid,
        compiler_params=_params(kernel, plan.head_dim * operands["q"].dtype.itemsize),
        interpret=plan.interpret,
        name=kernel.__name__.strip("_"),
    )(*operands.values())
    return dict(zip(results, found, strict=True))


def _params(kernel, head_bytes: int) -> plgpu.CompilerParams:
    """Returns the warps and stages with which few registers are spilled, as ptxas says for H100s."""
    if kernel is _bias_kernel:
        return plgpu.CompilerParams(num_warps=4, num_stages=2 if head_bytes * LONGEST_BLOCK <= BLOCK_BYTES else 1)
    return plgpu.CompilerParams(num_warps=4 if head_bytes <= 128 else 8, num_stages=2)


def _operands(q_BTA, k_BSA, v_BSA, bias_ND, places) -> dict:
    codes, offset = places
    operands = {"offset": offset, "q": q_BTA, "k": k_BSA, "v": v_BSA}
    if bias_ND is not None:
        operands["bias"] = bias_ND
    if codes is not None:
        operands |= dict(zip(("query_codes", "key_codes"), codes, strict=True))
    return operands


def _forward(plan: Plan, q_BTA, *others) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns out_BTA, highest_BNT and inverse_BNT."""
    B, T, A = q_BTA.shape
    numbers = jax.ShapeDtypeStruct((B, A // plan.head_dim, T), FLOATS)
    results = {"out": jax.ShapeDtypeStruct(q_BTA.shape, q_BTA.dtype), "highest": numbers, "inverse": numbers}
    block = plan.block(q_BTA.dtype)
    blocks = (2 * block, block)  # the queries' results stay in registers: twice as many read the keys half as often
    grid = (pl.cdiv(T, blocks[0]), A // plan.head_dim, B)
    found = _call(_forward_kernel, plan, grid, blocks, _operands(q_BTA, *others), results)
    return found["out"], found["highest"], found["inverse"]


def _save(plan: Plan, *operands):
    results = _forward(plan, *operands)
    return results[0], (operands, results)


def _backward(plan: Plan, saved, do_BTA):
    operands, (out_BTA, highest_BNT, inverse_BNT) = saved
    B, T, A = out_BTA.shape
    N, S = A // plan.head_dim, plan.num_keys
    products_BTNH = (do_BTA.astype(FLOATS) * out_BTA.astype(FLOATS)).reshape(B, T, N, -1)
    shared_BNT = jnp.swapaxes(jnp.sum(products_BTNH, axis=-1), 1, 2)
    named = _operands(*operands) | {"do": do_BTA, "highest": highest_BNT, "inverse": inverse_BNT, "shared": shared_BNT}
    numbers = jax.ShapeDtypeStruct((B, N, T), FLOATS)
    q, k, v = (jax.ShapeDtypeStruct(named[name].shape, named[name].dtype) for name in "qkv")
    of_queries = {"dq": q} | ({"before": numbers, "after": numbers} if plan.largest else {})
    block = plan.block(out_BTA.dtype)
    blocks = (block, block)
    found = _call(_query_kernel, plan, (pl.cdiv(T, block), N, B), blocks, named, of_queries)
    found |= _call(_key_kernel, plan, (pl.cdiv(S, block), N, B), blocks, named, {"dk": k, "dv": v})
    dbias_ND = _bias_gradient(plan, named, block, found["before"], found["after"]) if plan.largest else None
    return found["dq"], found["dk"], found["dv"], dbias_ND, None


def _bias_gradient(plan: Plan, named: dict, block: int, before_BNT, after_BNT) -> jax.Array:
    """Returns dbias_ND, from the gradients where it is constant and the blocks where it is not."""
    N, E = named["bias"].shape[0], len(plan.diagonals(block))
    blocks_PNEst = jax.ShapeDtypeStruct((NUM_PARTS, N, E, block, block), FLOATS)
    found = _call(_bias_kernel, plan, (E, N, NUM_PARTS), (block, block), named, {"blocks": blocks_PNEst})
    _, transposed = jax.vjp(functools.partial(_bias_blocks, plan, block), named["bias"])
    (dbias_ND,) = transposed(jnp.sum(found["blocks"], axis=0))
    before_N, after_N = (jnp.sum(x_BNT, axis=(0, 2)) for x_BNT in (before_BNT, after_BNT))
    zeros_ND = jnp.zeros_like(dbias_ND[:, 1:-1])
    return dbias_ND + jnp.concatenate((before_N[:, None], zeros_ND, after_N[:, None]), axis=1)


def _bias_blocks(plan: Plan, block: int, bias_ND) -> jax.Array:
    """Returns the bias of the blocks on each diagonal, blocks_NEst."""
    diagonals = plan.diagonals(block)
    farthest = block * (1 - diagonals.start) - 1
    padded_ND = jnp.pad(bias_ND, ((0, 0), (farthest - plan.largest,) * 2), mode="edge")
    firsts = (farthest + block * (diagonal - 1) + 1 for diagonal in diagonals)
    return jnp.stack([toeplitz(padded_ND[:, first : first + 2 * block - 1]) for first in firsts], axis=1)


fused.defvjp(_save, _backward)
