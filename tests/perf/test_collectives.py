"""Tests t5x_lite/perf/collectives.py on the text of a TPU's compiler, and on a program of eight fake devices."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from t5x_lite.config import MeshConfig
from t5x_lite.parallel.mesh import make_mesh
from t5x_lite.perf.collectives import Traffic, traffic
from t5x_lite.perf.hlo import parse


def program(*lines, fused=""):
    return parse("\n".join([fused, "ENTRY %main (a: f32[8]) -> f32[8] {", *(f"  {line}" for line in lines), "}", ""]))


def only(module, slices):
    (row,) = traffic(module, slices)
    return row


@pytest.mark.parametrize(
    ("line", "kind", "moved", "sent"),
    [
        (
            "%x = bf16[1,64,16]{2,1,0:T(8,128)(2,1)} all-gather(%a), replica_groups={{0,1,2,3},{4,5,6,7}}",
            "all-gather",
            2048,
            2048 * 3 // 4,
        ),
        (
            "%x = (f32[8]{0:T(128)}, f32[4]{0}) all-reduce(%a, %b), replica_groups=[1,8]<=[8], to_apply=%s",
            "all-reduce",
            48,
            2 * 42,
        ),
        (
            "%x = f32[2,4]{1,0} reduce-scatter(%a), channel_id=1, replica_groups=[4,2]<=[2,4]T(1,0), dimensions={0}",
            "reduce-scatter",
            64,
            32,
        ),
        (
            "%x = f32[16]{0} all-to-all(%a), channel_id=1, replica_groups=mesh['axis_0'=2,'axis_1'=4] {'axis_1'}",
            "all-to-all",
            64,
            48,
        ),
        (
            "%x = (f32[6]{0}, f32[6]{0}, u32[], u32[]) collective-permute-start(%a), channel_id=1, "
            "source_target_pairs={{0,1},{1,0}}",
            "collective-permute",
            24,
            24,
        ),
        (
            "%x = (f32[4]{0}, f32[32]{0}) all-gather-start(%a), channel_id=1, replica_groups=[1,8]<=[8]",
            "all-gather",
            128,
            112,
        ),
        (
            "%x = ((f32[4]{0}, f32[2]{0}), (f32[32]{0}, f32[2]{0})) all-gather-start(%a), replica_groups=[1,8]<=[8]",
            "all-gather",
            136,
            119,
        ),
        (
            "%x = ((f32[32]{0}), f32[4]{0}) reduce-scatter-start(%a), channel_id=1, replica_groups=[1,8]<=[8]",
            "reduce-scatter",
            128,
            112,
        ),
        (
            "%x = ((f32[32]{0}), f32[32]{0}) all-to-all-start(%a), channel_id=1, replica_groups=[1,8]<=[8]",
            "all-to-all",
            128,
            112,
        ),
    ],
)
def test_every_kind_and_notation_counts_the_bytes_of_a_ring(line, kind, moved, sent):
    assert only(program(line), [0] * 8) == Traffic(kind, "ici", 1, moved, sent)


@pytest.mark.parametrize(
    ("groups", "network"),
    [
        ("{{0,1,2,3},{4,5,6,7}}", "ici"),
        ("{{0,4},{1,5},{2,6},{3,7}}", "dcn"),
        ("[4,2]<=[2,4]T(1,0)", "dcn"),
        ("mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'a'}", "ici"),
        ("mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'b'}", "dcn"),
        ("mesh['a'=8] {'a':(2)4}", "ici"),
        ("mesh['a'=8] {'a':(1)2}", "dcn"),
        ("mesh['a'=2,'b'=4], device_ids=(0,4,1,5,2,6,3,7) {'a'}", "ici"),
    ],
)
def test_groups_that_span_slices_go_over_dcn(groups, network):
    line = f"%x = f32[8]{{0}} all-reduce(%a), channel_id=1, replica_groups={groups}, to_apply=%s"
    assert only(program(line), [0] * 4 + [1] * 4).network == network


def test_a_sum_over_slices_sends_each_chip_s_share_between_them():
    line = "%x = f32[8]{0} all-reduce(%a), channel_id=1, replica_groups=[1,8]<=[8], to_apply=%s"
    found = {row.network: row for row in traffic(program(line), [0] * 4 + [1] * 4)}
    assert found["ici"].bytes_sent == 2 * 32 * 3 // 4
    assert found["dcn"].bytes_sent == 2 * (32 // 4) // 2


def test_transfers_between_tpu_slices_count_as_dcn():
    line = (
        "%x = (f32[8]{0:T(128)}, u32[], token[]) send(%a, %t), channel_id=2, is_host_transfer=true, "
        'frontend_attributes={_xla_megascale_target="{1,2}x{0:3}",_xla_megascale_transfer_type="ALL_REDUCE"}'
    )
    assert only(program(line), [0] * 4 + [1] * 4) == Traffic("all-reduce", "dcn", 1, 32, 32)


def test_groups_that_cannot_be_read_are_an_error_and_no_guess():
    line = "%x = f32[8]{0} all-reduce(%a), channel_id=1, replica_groups=<new>, to_apply=%s"
    with pytest.raises(ValueError, match="cannot parse the replica groups of a collective"):
        traffic(program(line), [0] * 8)


def test_a_group_of_one_sends_nothing():
    assert not traffic(program("%x = f32[8]{0} all-reduce(%a), replica_groups={{0},{1}}, to_apply=%s"), [0, 0])


FUSED = """%start (p: f32[8]) -> f32[64] {
  %p = f32[8]{0} parameter(0)
  ROOT %g = f32[64]{0} all-gather(%p), channel_id=5, replica_groups=[1,8]<=[8], dimensions={0}
}
"""


SCATTERED = """%all-reduce-scatter.6 (p: f32[64]) -> f32[8] {
  %p = f32[64]{0} parameter(0)
  %all-reduce.3 = f32[64]{0} all-reduce(%p), channel_id=5, replica_groups=[1,8]<=[8], to_apply=%s
  ROOT %d = f32[8]{0} dynamic-slice(%all-reduce.3), dynamic_slice_sizes={8}
}
"""


def test_a_sum_of_which_each_chip_keeps_a_slice_is_sent_once():
    module = program("%f = f32[8]{0} fusion(%a), kind=kCustom, calls=%all-reduce-scatter.6", fused=SCATTERED)
    assert only(module, [0] * 8) == Traffic("reduce-scatter", "ici", 1, 256, 256 * 7 // 8)


def test_a_collective_that_is_spread_over_fusions_counts_once():
    line = "%f.{0} = f32[64]{{0}} fusion(%a), kind=kCustom, calls=%start"
    module = program(line.format(1), line.format(2), fused=FUSED)
    assert only(module, [0] * 8) == Traffic("all-gather", "ici", 1, 256, 224)


def test_layers_sharded_by_fsdp_are_gathered_in_every_iteration():
    mesh, layers = make_mesh(MeshConfig(data=1, fsdp=8)), 6

    def loss(kernels_LDF, x_BD):
        def layer(x_BD, kernel_DF):
            kernel_DF = jax.lax.with_sharding_constraint(kernel_DF, P())
            return jax.lax.with_sharding_constraint(jnp.tanh(x_BD @ kernel_DF), P("fsdp")), None

        return jax.lax.scan(layer, x_BD, kernels_LDF)[0]

    def shape(dims, spec):
        return jax.ShapeDtypeStruct(dims, jnp.float32, sharding=NamedSharding(mesh, spec))

    with jax.set_mesh(mesh):
        compiled = jax.jit(loss).lower(shape((layers, 16, 16), P(None, "fsdp")), shape((40, 16), P("fsdp"))).compile()
    row = only(parse(compiled.as_text() or ""), [0] * 8)
    assert (row.kind, row.count, row.bytes_moved) == ("all-gather", layers, layers * 16 * 16 * 4)
