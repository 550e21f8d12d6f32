"""Hessian-vector products: what `check_backend` (tests/test_kernels.py) does not reach."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import xent
from xent.kernels import Directions, Need, Slopes, Target, cpu, reference, set_num_threads
from xent.kernels.threads import get_num_threads
from xent.objective import SoftmaxObjective
from xent.testing.backend import problem

PLAIN = Slopes(1.0, -1.0, 0.0)
ALL = Need(True, True, True)


def directions(x, w, seed=3):
    rng = np.random.default_rng(seed)
    return Directions(*(rng.normal(size=s).astype(x.dtype) for s in (x.shape, w.shape, len(w))))


@pytest.mark.parametrize("shape", [(2000, 30, 10), (700, 40, 300), (100, 600, 9000)], ids=str)
def test_same_bits_for_any_number_of_threads_and_near_the_reference(shape):
    x, w, b, target, weight = problem(shape, np.float32)
    v, before, results = directions(x, w), get_num_threads(), []
    try:
        for threads in (1, 2, 3, 7):
            set_num_threads(threads)
            results.append(cpu.linear_hvp(x, w, b, target, PLAIN, v, weight=weight, need=ALL))
    finally:
        set_num_threads(before)
    for other in results[1:]:
        for a, c in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, c)
    for a, c in zip(results[0], reference.linear_hvp(x, w, b, target, PLAIN, v, weight=weight, need=ALL), strict=True):
        np.testing.assert_allclose(a, c, atol=2e-5 * np.abs(c).max())


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("z_loss", [0.0, 0.1])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_torch_differentiates_the_same_twice(soft, z_loss, reduction):
    torch = pytest.importorskip("torch")
    x, w, b, target, weight = problem((40, 6, 5), np.float64, soft)
    v = directions(x, w)
    options = {"label_smoothing": 0.125, "z_loss": z_loss, "reduction": reduction, "temperature": 1.7}
    aim = target.probs if soft else np.where(target.label < 0, -100, target.label)
    given = {"x": x, "w": w, "bias": b}
    along = {"x": v.x, "w": v.w, "bias": v.bias}
    found = xent.hvp(xent.linear_cross_entropy)(x, w, aim, bias=b, sample_weight=weight, vector=along, **options)
    leaves = [torch.tensor(a, requires_grad=True) for a in given.values()]
    z = (leaves[0] @ leaves[1].T + leaves[2]) / 1.7
    log_p, size = torch.log_softmax(z, 1), torch.logsumexp(z, 1)
    q = torch.tensor(aim) if soft else torch.nn.functional.one_hot(torch.tensor(aim).clamp(min=0), 5).double()
    each = -((0.875 * q + 0.125 / 5) * log_p).sum(1) + z_loss * size**2
    share = torch.tensor(weight * (1 if soft else aim >= 0))
    loss = (share * each).sum() / (share.sum() if reduction == "mean" else 1)
    grads = torch.autograd.grad(loss, leaves, create_graph=True)
    moved = sum((g * torch.tensor(d)).sum() for g, d in zip(grads, along.values(), strict=True))
    for name, expected in zip(given, torch.autograd.grad(moved, leaves), strict=True):
        np.testing.assert_allclose(found[name], expected.numpy(), atol=1e-12, err_msg=name)


def test_rows_left_out_poison_nothing():
    for K in (3, 40, 9000):
        x, w, b, target, weight = problem((60, 600, K) if K > 100 else (60, 6, K), np.float64)
        v, out = directions(x, w), (target.label < 0) | (weight == 0)
        clean = cpu.linear_hvp(x, w, b, target, PLAIN, v, weight=weight, need=ALL)
        x[out], v.x[out] = np.nan, np.inf
        for a, c in zip(cpu.linear_hvp(x, w, b, target, PLAIN, v, weight=weight, need=ALL), clean, strict=True):
            np.testing.assert_allclose(a, c, atol=1e-12 * np.abs(c).max())


def test_an_undefined_row_is_undefined_alone():
    x, w, b, _, _ = problem((20, 4, 5), np.float64)
    x[7, 0] = np.nan
    moved = cpu.linear_hvp(x, w, b, Target(np.zeros(20, int)), PLAIN, directions(x, w)._replace(x=None), need=ALL)
    assert np.isnan(moved.x).any(axis=1).nonzero()[0].tolist() == [7]
    assert np.isnan(moved.w).any()


@pytest.mark.parametrize("K", [2, 4])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("kind", ["dense", "sparse", "converted"])
def test_objectives_product_by_finite_differences(K, intercept, kind, monkeypatch):
    monkeypatch.setattr("xent.objective.CONVERTED_ROWS", 32)
    rng = np.random.default_rng(3)
    X, y, weight = rng.normal(size=(60, 5)), rng.integers(0, K, 60), rng.random(60)
    X[rng.random(X.shape) < 0.3] = 0
    X = sparse.csr_array(X) if kind == "sparse" else X.astype(np.float32) if kind == "converted" else X
    f = SoftmaxObjective(X, y, K, weight=weight, l2=0.3, fit_intercept=intercept, dtype=np.float64)
    theta, v = rng.normal(size=(2, *f.shape)).reshape(2, -1)
    h = 1e-5
    slope = (f.value_and_grad(theta + h * v)[1] - f.value_and_grad(theta - h * v)[1]) / (2 * h)
    np.testing.assert_allclose(f.hessian_vector_product(theta, v), slope, atol=1e-8)


def test_what_does_not_fit_is_refused():
    x, w, _, target, _ = problem((6, 4, 3), np.float64)
    with pytest.raises(ValueError, match=r"the direction of w has the shape \(3, 5\), w \(3, 4\)"):
        cpu.linear_hvp(x, w, None, target, PLAIN, Directions(None, np.zeros((3, 5)), None))
    product = xent.hvp(xent.linear_cross_entropy)
    label = np.zeros(6, int)
    with pytest.raises(TypeError, match="a dict of directions by the arguments' names, not ndarray"):
        product(x, w, label, vector=w)
    with pytest.raises(ValueError, match=r"not with 'bias'"):
        product(x, w, label, vector={"bias": np.zeros(3)})
    with pytest.raises(ValueError, match=r"of w must be a NumPy array of its shape \(3, 4\), not \(4, 3\)"):
        product(x, w, label, vector={"w": w.T})
    with pytest.raises(ValueError, match='use reduction="mean" or "sum"'):
        product(x, w, label, vector={"w": w}, reduction="none")
