"""Tests t5x_lite/model/remat.py; tests/model/test_stacks.py has what is saved and recomputed"""

import dataclasses

import pytest

from t5x_lite.model.remat import check_remat
from tests import tiny


def test_a_tensor_to_keep_must_be_one_that_has_a_name():
    check_remat(dataclasses.replace(tiny.T5_1_1, remat=("query", "mlp_wi_0")))
    with pytest.raises(ValueError, match=r"train.remat names \['wi_0'\]: use some of query, key"):
        check_remat(dataclasses.replace(tiny.T5_1_1, remat=("query", "wi_0")))


@pytest.mark.parametrize(("remat", "offload"), [("none", ("query",)), ("full", ("query",)), ("minimal", ("wi_0",))])
def test_tensors_that_are_not_saved_cannot_be_offloaded(remat, offload):
    with pytest.raises(
        ValueError, match=rf"train.offload is \['{offload[0]}'\] and train.remat is {remat}: offload only"
    ):
        check_remat(dataclasses.replace(tiny.T5_1_1, remat=remat, offload=offload))
