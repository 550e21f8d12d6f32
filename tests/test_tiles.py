"""Row functions a tile at a time: no cut shows in the result, and what is computed seldom is the same."""

from __future__ import annotations

import array_api_compat.torch as torch_api
import numpy as np
import pytest

import xent
from xent.autodiff import rows
from xent.rows import tiles
from xent.rows.distance import BinaryDistanceRows, DistanceRows
from xent.rows.divergence import JSRows, KLRows

RNG = np.random.default_rng(37)
N, K = 301, 7
OPS = {
    "kl": KLRows(),
    "reverse": KLRows(reverse=True),
    "js": JSRows(1.5),
    "teacher": KLRows(2.0, teacher=True),
    "squared": DistanceRows(2),
    "absolute": DistanceRows(1),
    "binary": BinaryDistanceRows(2),
}


def arrays(op):
    """Rows to cut, some of them left out and not to be read."""
    a, q = RNG.normal(size=(N, K)), RNG.dirichlet(np.ones(K), N)
    if isinstance(op, BinaryDistanceRows):
        a, q = a[:, 0].copy(), q[:, 0].copy()
    if getattr(op, "teacher", False):
        q = a + np.where(RNG.random((N, 1)) < 0.5, 1e-3, 1.0) * RNG.normal(size=(N, K))
    label = np.where(RNG.random(N) < 0.2, -1, 0)
    a[label < 0] = q[label < 0] = np.nan
    return a, q, label


def test_the_defaults_are_those_of_the_losses():
    a, q, label = RNG.normal(size=(N, K)), RNG.dirichlet(np.ones(K), N), RNG.integers(0, 2, N)
    zeros = np.zeros(N, np.int64)
    for op, loss in ((KLRows(), xent.kl_loss), (JSRows(), xent.js_loss), (DistanceRows(2), xent.squared_error)):
        np.testing.assert_array_equal(op.value(np, a, q, zeros), loss(a, q, reduction="none"))
    np.testing.assert_array_equal(DistanceRows(1).value(np, a, label), xent.absolute_error(a, label, reduction="none"))
    found = BinaryDistanceRows(2).value(np, a[:, 0], q[:, 0], zeros)
    np.testing.assert_array_equal(found, xent.binary_squared_error(a[:, 0], q[:, 0], reduction="none"))


@pytest.mark.parametrize("op", [*OPS.values(), BinaryDistanceRows(1), JSRows(teacher=True)], ids=str)
def test_rows_left_out_cost_nothing(op):
    """In PyTorch, which computes them as well."""
    torch = pytest.importorskip("torch")
    given = arrays(op)
    out = given[2] < 0
    tensors = [torch.tensor(v) for v in given]
    value, grads = op.value(torch_api, *tensors), op.grads(torch_api, (True, True, False), *tensors)
    expected = op.value_and_grads(np.ones(N), (True, True, False), *given)
    assert (value.numpy()[out] == 0).all()
    np.testing.assert_allclose(value.numpy(), expected[0], rtol=1e-12, atol=1e-15)
    assert grads[2] is None
    for asked in ((True, False, False), (False, True, False)):  # nor is what nobody asks for computed
        assert [v is not None for v in op.grads(torch_api, asked, *tensors)] == list(asked)
    for found, wanted in zip(grads[:2], expected[1][:2], strict=True):
        assert (found.numpy()[out] == 0).all()
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_numpy(op, monkeypatch):
    a, q, label = arrays(op)
    g, wrt = RNG.normal(size=N), (True, True, False)
    found = {}
    before = xent.get_num_threads()
    try:
        for threads, size in ((1, 2**30), (1, 1), (1, 999), (3, 999)):
            xent.set_num_threads(threads)
            monkeypatch.setattr(tiles, "CACHE_BYTES", size)
            value, both = op.value_and_grads(g, wrt, a, q, label)
            np.testing.assert_array_equal(value, op.value(np, a, q, label))
            for d, alone in zip(both[:2], op.weighted_grads(np, g, wrt, a, q, label), strict=False):
                np.testing.assert_array_equal(d, alone)
            found[threads, size] = (value, *both[:2])
    finally:
        xent.set_num_threads(before)
    for part in found.values():
        for x, y in zip(part, found[1, 2**30], strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-16)
            assert not x[label < 0].any()
            assert x[label >= 0].any()
            assert np.isfinite(x).all()
    for x, y in zip(found[1, 999], found[3, 999], strict=True):
        np.testing.assert_array_equal(x, y)  # bit for bit, for any number of threads


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_torch(op, monkeypatch):
    """In PyTorch's own operations, as on an accelerator."""
    torch = pytest.importorskip("torch")
    a, q, label = arrays(op)
    value, (da, dq, _) = op.value_and_grads(np.ones(N), (True, True, False), a, q, label)
    monkeypatch.setattr(tiles.Tiled, "native", False)
    monkeypatch.setattr(tiles, "TORCH_BYTES", 999)
    leaves = [torch.tensor(x, requires_grad=True) for x in (a, q)]
    each = rows(op, *leaves, torch.tensor(label))
    np.testing.assert_allclose(each.detach(), value, rtol=1e-12, atol=1e-16)
    for again in (False, True):  # alone, and to be differentiated again
        for found, expected in zip(
            torch.autograd.grad(each.sum(), leaves, create_graph=again, retain_graph=True), (da, dq), strict=True
        ):
            np.testing.assert_allclose(found.detach(), expected, rtol=1e-11, atol=1e-15)


def test_patch_is_where():
    x, y = RNG.normal(size=(5, 40)), RNG.normal(size=(5, 40))
    for mask in (np.zeros((5, 40), bool), RNG.random((5, 40)) < 0.1, RNG.random((5, 40)) < 0.9, np.ones((5, 40), bool)):
        found = tiles.patch(np, mask, y.copy(), lambda x, y: x - y, x, y)
        np.testing.assert_array_equal(found, np.where(mask, x - y, y))
        np.testing.assert_array_equal(tiles.unless(np, mask, 2.0, y), np.where(mask, 2.0, y))
