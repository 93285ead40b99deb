# SPDX-License-Identifier: Apache-2.0
"""Attention with T5's relative position bias as Pallas kernels for TPUs, which never write logits or weights to memory.

Heads stay side by side, as the projections leave them: a block is 128 lanes wide and holds two heads of 64, told apart
by zeroing the lanes of the other. Logits are transposed, keys times queries, so that only small arrays have to be
transposed in the backward pass, which recomputes the weights from the inputs: nothing else is saved for it. Keys and
values of one block of heads are in VMEM at once; queries come block by block. The tiles of the bias are made in VMEM
for each block of heads, and their gradient is summed there over the whole batch.

Shape letters: B batch, T queries, S keys, N heads, H head, A = N * H, D distances of the bias; within a kernel t
queries and s keys of a block, G lanes of a block.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from t5x_lite.model.kernels import plan as plans
from t5x_lite.model.kernels.choice import KEY_BLOCK, TILE, recomputed_products
from t5x_lite.model.kernels.reference import MASKED_LOGIT

LANES = 128
QUERY_BLOCK, LONG_QUERY_BLOCK = 512, 256
SPARE_VMEM = 16 * 2**20  # for what a kernel computes besides its operands
FLOATS = jnp.float32


class Plan(plans.Plan):
    """The blocks of a call on a TPU."""

    @property
    def reach(self) -> int:
        """How many blocks apart keys and queries have to be for the bias to be constant; 0 without a bias."""
        return self.largest // TILE

    @property
    def lanes(self) -> int:
        """The width of a block."""
        return max(LANES, self.head_dim)

    @property
    def heads(self) -> int:
        """The number of heads in a block."""
        return self.lanes // self.head_dim

    @property
    def key_block(self) -> int:
        """The number of keys in a block."""
        return min(KEY_BLOCK, _round_up(self.num_keys, TILE))

    @property
    def query_block(self) -> int:
        """The number of queries in a block."""
        longest = QUERY_BLOCK if self.num_key_blocks == 1 else LONG_QUERY_BLOCK
        return min(longest, _round_up(self.num_queries, TILE))

    @property
    def num_key_blocks(self) -> int:
        """The number of blocks of keys."""
        return -(-self.num_keys // self.key_block)

    @property
    def num_query_blocks(self) -> int:
        """The number of blocks of queries."""
        return -(-self.num_queries // self.query_block)


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def fused(plan: Plan, q_BTA, k_BSA, v_BSA, bias_ND, places) -> jax.Array:
    """Returns softmax(q k + bias) v, shaped [B, T, A], of the heads and the batch that one device holds.

    Args:
      plan: the static description of the call.
      q_BTA: queries; A is a multiple of `plan.lanes`.
      k_BSA: keys.
      v_BSA: values.
      bias_ND: from `bias_values`, for distances of up to `plan.largest`, or None.
      places: ((codes_BT, codes_BS), offset): codes are int32, twice the number of the segment and 1 in a prefix, or
        None instead of both if all see all; offset is int32 [1], the blocks of 128 tokens by which the queries'
        positions are ahead of the keys'.
    """
    return _forward(plan, q_BTA, k_BSA, v_BSA, bias_ND, places)


def largest_distance(max_distance: int) -> int:
    """Returns the largest distance in a tile, if all from `max_distance` on have the same bias."""
    reach = -(-(max_distance + TILE - 1) // TILE)
    return (reach + 1) * TILE - 1


def _save(plan, *operands):
    return _forward(plan, *operands), operands


class _Block:
    """One block of heads of one example in VMEM, and the arithmetic that the forward and backward passes share."""

    def __init__(self, plan: Plan, refs: dict):
        self.plan, self.refs = plan, refs
        self.index = pl.program_id(2)  # of the block of queries
        self.offset = refs["offset"][0]

    def num_key_blocks(self) -> jax.Array | int:
        """Returns how many blocks of keys these queries can see."""
        plan = self.plan
        if not plan.is_causal or plan.num_key_blocks == 1:
            return plan.num_key_blocks
        last = self.offset * TILE + (self.index + 1) * plan.query_block
        return jnp.minimum(plan.num_key_blocks, pl.cdiv(last, plan.key_block))

    def queries(self, name: str) -> jax.Array:
        """Returns a block [t, G], zero beyond the last query, where memory holds anything."""
        plan = self.plan
        block_tG = self.refs[name][0]
        if plan.num_queries % plan.query_block == 0:
            return block_tG
        return _rows_below(block_tG, plan.num_queries - self.index * plan.query_block)

    def keys(self, name: str, index: jax.Array | int) -> jax.Array:
        """Returns a block [s, G] of keys or values, zero beyond the last key."""
        plan = self.plan
        block_sG = self.refs[name][0, pl.ds(index * plan.key_block, plan.key_block), :]
        if plan.num_keys % plan.key_block == 0:
            return block_sG
        return _rows_below(block_sG, plan.num_keys - index * plan.key_block)

    def head(self, x_tG: jax.Array, head: int) -> jax.Array:
        """Returns x with the lanes of other heads zeroed."""
        plan = self.plan
        if plan.heads == 1:
            return x_tG
        lanes = _places(x_tG.shape, 1)
        first = head * plan.head_dim
        return jnp.where((lanes >= first) & (lanes < first + plan.head_dim), x_tG, jnp.zeros_like(x_tG))

    def logits(self, q_tG: jax.Array, k_sG: jax.Array, head: int, index: jax.Array | int) -> jax.Array:
        """Returns logits_st of one head, -inf beyond the last key."""
        plan = self.plan
        logits_st = _dot(k_sG, q_tG, 1, 1)
        if plan.reach:
            logits_st += self.bias(head, index)
        if plan.has_codes or plan.has_prefix:
            logits_st = jnp.where(self.visible(index), logits_st, MASKED_LOGIT)
        if plan.num_keys % plan.key_block:
            rows_st = _places(logits_st.shape, 0)
            logits_st = jnp.where(rows_st < plan.num_keys - index * plan.key_block, logits_st, -jnp.inf)
        return logits_st

    def tile(self, index: jax.Array | int, row: int, column: int) -> jax.Array:
        """Returns the number of the tile at a block of 128 keys and 128 queries of the block of logits."""
        plan = self.plan
        keys = index * (plan.key_block // TILE) + row
        queries = self.index * (plan.query_block // TILE) + column + self.offset
        return jnp.clip(keys - queries, -plan.reach, plan.reach) + plan.reach

    def make_tiles(self) -> None:
        """Fills the tiles, once for a block of heads."""

        @pl.when((self.index == 0) & (pl.program_id(1) == 0))
        def _():
            for head, number, window in self.windows():
                window_1D = self.refs["bias"][head, :, window]
                self.refs["tiles"][head, number] = _skewed(window_1D, self.plan.interpret)

    def sum_tiles(self) -> None:
        """Sums the diagonals of the tiles' gradients, after the last example."""
        zeros_st = jnp.zeros((TILE, TILE), FLOATS)
        self.refs["dbias"][...] = jnp.zeros_like(self.refs["dbias"])
        for head, number, window in self.windows():
            dtile_sD = jnp.concatenate([_reversed(self.refs["dtiles"][head, number]), zeros_st], axis=1)
            if self.plan.interpret:
                places = _places((TILE, 2 * TILE), 1) - _places((TILE, 2 * TILE), 0)
                dtile_sD = jnp.take_along_axis(dtile_sD, places % (2 * TILE), axis=1)
            else:
                dtile_sD = pltpu.roll(dtile_sD, 0, 1, stride=1, stride_axis=0)
            self.refs["dbias"][head, :, window] += jnp.sum(dtile_sD, axis=0, keepdims=True)

    def windows(self) -> list[tuple[int, int, slice]]:
        """Returns each tile's head, number and distances."""
        last = 2 * self.plan.reach
        return [
            (head, number, slice((last - number) * TILE, (last - number + 2) * TILE))
            for head in range(self.plan.heads)
            for number in range(last + 1)
        ]

    def bias(self, head: int, index: jax.Array | int) -> jax.Array:
        """Returns bias_st."""
        tiles = self.refs["tiles"]
        rows, columns = self.plan.key_block // TILE, self.plan.query_block // TILE
        return jnp.concatenate(
            [
                jnp.concatenate([tiles[head, self.tile(index, row, column)] for column in range(columns)], axis=1)
                for row in range(rows)
            ],
            axis=0,
        )

    def visible(self, index: jax.Array | int) -> jax.Array:
        """Returns visible_st."""
        plan = self.plan
        shape = (plan.key_block, plan.query_block)
        codes_1t = self.refs["query_codes"][0]
        codes_1s = self.refs["key_codes"][0, :, pl.ds(index * plan.key_block, plan.key_block)]
        codes_s1 = jnp.broadcast_to(codes_1s, (LANES, plan.key_block)).T[:, :1]
        keys_st, queries_st = jnp.broadcast_to(codes_s1, shape), jnp.broadcast_to(codes_1t, shape)
        if not plan.has_prefix:
            return keys_st == queries_st
        key_places = index * plan.key_block + _places(shape, 0)
        query_places = self.index * plan.query_block + _places(shape, 1)
        is_earlier = key_places <= query_places + self.offset * TILE
        return ((keys_st >> 1) == (queries_st >> 1)) & (is_earlier | ((keys_st & queries_st & 1) == 1))


def _places(shape: tuple[int, ...], axis: int) -> jax.Array:
    return jax.lax.broadcasted_iota(jnp.int32, shape, axis)


def _skewed(window_1D: jax.Array, interpret: bool) -> jax.Array:
    """Returns tile_st with `window_1D[0, TILE - 1 - s + t]` at s and t."""
    window_sD = jnp.broadcast_to(window_1D, (TILE, 2 * TILE))
    if interpret:  # where a roll by row takes a step for each row
        places_st = TILE - 1 - _places((TILE, TILE), 0) + _places((TILE, TILE), 1)
        return jnp.take_along_axis(window_sD, places_st, axis=1)
    return pltpu.roll(window_sD, TILE + 1, 1, stride=1, stride_axis=0)[:, :TILE]


def _reversed(tile_st: jax.Array) -> jax.Array:
    """Returns the tile with its last row first, by a product that is exact."""
    mirror_ss = (_places((TILE, TILE), 0) + _places((TILE, TILE), 1) == TILE - 1).astype(FLOATS)
    return jax.lax.dot(mirror_ss, tile_st, precision=jax.lax.Precision.HIGHEST, preferred_element_type=FLOATS)


def _rows_below(x_tG: jax.Array, num_rows: jax.Array | int) -> jax.Array:
    rows = _places(x_tG.shape, 0)
    return jnp.where(rows < num_rows, x_tG, jnp.zeros_like(x_tG))


def _dot(x: jax.Array, y: jax.Array, x_dim: int, y_dim: int) -> jax.Array:
    return jax.lax.dot_general(x, y, (((x_dim,), (y_dim,)), ((), ())), preferred_element_type=FLOATS)


def _loop(num: jax.Array | int, step, carry):
    """Runs `step(index, carry)`; a single one without a loop, so that its blocks are static."""
    return step(0, carry) if isinstance(num, int) and num == 1 else jax.lax.fori_loop(0, num, step, carry)


def _forward_kernel(names, plan: Plan, *refs) -> None:
    block = _Block(plan, dict(zip(names, refs, strict=True)))
    if plan.reach:
        block.make_tiles()
    all_q_tG = block.queries("q")
    dtype = all_q_tG.dtype
    out_Gt = jnp.zeros((plan.lanes, plan.query_block), FLOATS)
    for head in range(plan.heads):
        q_tG = block.head(all_q_tG, head)

        def step(index, carry, q_tG=q_tG, head=head):
            highest_1t, total_1t, sums_Gt = carry
            logits_st = block.logits(q_tG, block.keys("k", index), head, index)
            new_1t = jnp.maximum(highest_1t, jnp.max(logits_st, axis=0, keepdims=True))
            exp_st, scale_1t = jnp.exp(logits_st - new_1t), jnp.exp(highest_1t - new_1t)
            v_sG = block.head(block.keys("v", index), head)
            sums_Gt = sums_Gt * scale_1t + _dot(v_sG, exp_st.astype(dtype), 0, 0)
            return new_1t, total_1t * scale_1t + jnp.sum(exp_st, axis=0, keepdims=True), sums_Gt

        zeros_1t = jnp.zeros((1, plan.query_block), FLOATS)
        start = (zeros_1t - jnp.inf, zeros_1t, jnp.zeros_like(out_Gt))
        _, total_1t, sums_Gt = _loop(block.num_key_blocks(), step, start)
        out_Gt += sums_Gt / total_1t
    block.refs["out"][0] = out_Gt.T.astype(dtype)


def _backward_kernel(names, plan: Plan, *refs) -> None:
    block = _Block(plan, dict(zip(names, refs, strict=True)))
    refs = block.refs
    is_first, is_last = block.index == 0, block.index == plan.num_query_blocks - 1

    @pl.when(is_first)
    def _():
        refs["sum_k"][...] = jnp.zeros_like(refs["sum_k"])
        refs["sum_v"][...] = jnp.zeros_like(refs["sum_v"])

    if plan.reach:
        block.make_tiles()

        @pl.when(is_first & (pl.program_id(1) == 0))
        def _():
            refs["dtiles"][...] = jnp.zeros_like(refs["dtiles"])

    all_q_tG, all_do_tG = block.queries("q"), block.queries("do")
    dq_Gt = jnp.zeros((plan.lanes, plan.query_block), FLOATS)
    for head in range(plan.heads):
        q_tG, do_tG = block.head(all_q_tG, head), block.head(all_do_tG, head)
        dq_Gt += _head_gradients(block, q_tG, do_tG, head)
    refs["dq"][0] = dq_Gt.T.astype(refs["dq"].dtype)

    @pl.when(is_last)
    def _():
        refs["dk"][0] = refs["sum_k"][...].astype(refs["dk"].dtype)
        refs["dv"][0] = refs["sum_v"][...].astype(refs["dv"].dtype)

    if plan.reach:
        pl.when(is_last & (pl.program_id(1) == pl.num_programs(1) - 1))(block.sum_tiles)


def _head_gradients(block: _Block, q_tG: jax.Array, do_tG: jax.Array, head: int) -> jax.Array:
    """Adds one head's share to the gradients of keys, values and tiles; returns dq_Gt."""
    plan, refs = block.plan, block.refs

    def products(index):
        k_sG, v_sG = block.keys("k", index), block.keys("v", index)
        return block.logits(q_tG, k_sG, head, index), _dot(v_sG, do_tG, 1, 1)

    def measure(index, carry, known=None):
        highest_1t, total_1t, shared_1t = carry
        logits_st, dweights_st = known or products(index)
        new_1t = jnp.maximum(highest_1t, jnp.max(logits_st, axis=0, keepdims=True))
        exp_st, scale_1t = jnp.exp(logits_st - new_1t), jnp.exp(highest_1t - new_1t)
        total_1t = total_1t * scale_1t + jnp.sum(exp_st, axis=0, keepdims=True)
        return new_1t, total_1t, shared_1t * scale_1t + jnp.sum(exp_st * dweights_st, axis=0, keepdims=True)

    zeros_1t = jnp.zeros((1, plan.query_block), FLOATS)
    known = products(0) if plan.num_key_blocks == 1 else None
    start, num = (zeros_1t - jnp.inf, zeros_1t, zeros_1t), block.num_key_blocks()
    highest_1t, total_1t, shared_1t = _loop(num, functools.partial(measure, known=known), start)
    inverse_1t = 1 / total_1t
    shared_1t = shared_1t * inverse_1t

    def step(index, dq_Gt):
        logits_st, dweights_st = known or products(index)
        weights_st = jnp.exp(logits_st - highest_1t) * inverse_1t
        dlogits_st = weights_st * (dweights_st - shared_1t)
        _add_to_tiles(block, dlogits_st, head, index)
        weights_st, dlogits_st = weights_st.astype(q_tG.dtype), dlogits_st.astype(q_tG.dtype)
        rows = pl.ds(index * plan.key_block, plan.key_block)
        refs["sum_v"][rows, :] += _dot(weights_st, do_tG, 1, 0)
        refs["sum_k"][rows, :] += _dot(dlogits_st, q_tG, 1, 0)
        return dq_Gt + _dot(block.head(block.keys("k", index), head), dlogits_st, 0, 0)

    return _loop(num, step, jnp.zeros((plan.lanes, plan.query_block), FLOATS))


def _add_to_tiles(block: _Block, dlogits_st: jax.Array, head: int, index: jax.Array | int) -> None:
    plan = block.plan
    if not plan.reach:
        return
    for row in range(plan.key_block // TILE):
        for column in range(plan.query_block // TILE):
            part = dlogits_st[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
            block.refs["dtiles"][head, block.tile(index, row, column)] += part


def _specs(plan: Plan, bias) -> dict[str, pl.BlockSpec]:
    """Returns the block of each operand and result at a grid's place (group of heads, example, block of queries)."""
    queries = (1, plan.query_block, plan.lanes)
    keys = (1, plan.num_key_blocks * plan.key_block, plan.lanes)
    of_queries = pl.BlockSpec(queries, lambda g, b, i, _: (b, i, g))
    of_keys = pl.BlockSpec(keys, lambda g, b, i, _: (b, 0, g))
    specs: dict[str, pl.BlockSpec] = {}
    specs |= dict.fromkeys(("q", "do", "out", "dq"), of_queries)
    specs |= dict.fromkeys(("k", "v", "dk", "dv"), of_keys)
    if bias is not None:
        block = (plan.heads, *bias.shape[1:])
        specs |= dict.fromkeys(("bias", "dbias"), pl.BlockSpec(block, lambda g, b, i, _: (g, 0, 0)))
    if plan.has_codes or plan.has_prefix:
        specs["query_codes"] = pl.BlockSpec((1, 1, plan.query_block), lambda g, b, i, _: (b, 0, i))
        specs["key_codes"] = pl.BlockSpec((1, 1, keys[1]), lambda g, b, i, _: (b, 0, 0))
    return specs


def _call(kernel, plan: Plan, operands: dict, results: dict, scratch: dict) -> dict:
    """Runs a kernel over blocks of heads, examples and blocks of queries; returns the results by name."""
    specs = _specs(plan, operands.get("bias"))
    if plan.reach:
        tiles = pltpu.VMEM((plan.heads, 2 * plan.reach + 1, TILE, TILE), FLOATS)
        scratch = scratch | {"tiles": tiles} | ({"dtiles": tiles} if "dbias" in results else {})
    offset = operands.pop("offset")
    B, _, A = operands["q"].shape
    names = ("offset", *operands, *results, *scratch)
    found = pl.pallas_call(
        functools.partial(kernel, names, plan),
        out_shape=list(results.values()),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=(A // plan.lanes, B, plan.num_query_blocks),
            in_specs=[specs[name] for name in operands],
            out_specs=[specs[name] for name in results],
            scratch_shapes=list(scratch.values()),
        ),
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary", "arbitrary"),  # the tiles stay from one example to the next
            vmem_limit_bytes=_vmem(specs, operands | results) + sum(map(_bytes, scratch.values())),
        ),
        cost_estimate=_cost(plan, B, A, operands, results),
        interpret=plan.interpret,
    )(offset, *operands.values())
    return dict(zip(results, found, strict=True))


def _bytes(array) -> int:
    return math.prod(array.shape) * jnp.dtype(array.dtype).itemsize


def _vmem(specs, arrays) -> int:
    """Returns the bytes of VMEM that a kernel may use; what it reserves is taken from the rest of the program."""
    blocks = sum(math.prod(specs[name].block_shape) * jnp.dtype(array.dtype).itemsize for name, array in arrays.items())
    return SPARE_VMEM + 2 * blocks


def _cost(plan: Plan, B: int, A: int, operands: dict, results: dict) -> pl.CostEstimate:
    products = 2 if "out" in results else 4 + recomputed_products(plan.num_keys)
    size = B * plan.num_queries * plan.num_keys
    moved = sum(map(_bytes, (operands | results).values()))
    return pl.CostEstimate(
        flops=2 * products * size * A, transcendentals=size * A // plan.head_dim, bytes_accessed=moved
    )


def _operands(q_BTA, k_BSA, v_BSA, bias_ND, places) -> dict:
    codes, offset = places
    operands = {"offset": offset, "q": q_BTA, "k": k_BSA, "v": v_BSA}
    if bias_ND is not None:
        operands["bias"] = jnp.pad(bias_ND[:, ::-1], ((0, 0), (0, 1)))[:, None]  # queries and lanes both ascend
    if codes is not None:
        operands |= {"query_codes": codes[0][:, None], "key_codes": codes[1][:, None]}
    return operands


def _forward(plan: Plan, *operands) -> jax.Array:
    named = _operands(*operands)
    return _call(_forward_kernel, plan, named, {"out": _like(named["q"])}, {})["out"]


def _backward(plan: Plan, operands, do_BTA):
    named = _operands(*operands) | {"do": do_BTA}
    results = {f"d{name}": _like(named[name]) for name in ("q", "k", "v", "bias") if name in named}
    rows = plan.num_key_blocks * plan.key_block
    scratch = dict.fromkeys(("sum_k", "sum_v"), pltpu.VMEM((rows, plan.lanes), FLOATS))
    found = _call(_backward_kernel, plan, named, results, scratch)
    dbias_ND = found["dbias"][:, 0, -2::-1] if plan.reach else None
    return found["dq"], found["dk"], found["dv"], dbias_ND, None


def _like(array: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype)


fused.defvjp(_save, _backward)
