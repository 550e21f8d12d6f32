"""Every backend by `xent.testing.check_backend`, and what the choice of one and the native one's own rules are."""

from __future__ import annotations

import numpy as np
import pytest

from xent.kernels import Need, Slopes, Target, cpu, reference, select, set_num_threads
from xent.kernels.threads import get_num_threads
from xent.testing import ROWS
from xent.testing.backend import CHECKS, SHAPES, check_layer, check_row, problem

BACKENDS = [("reference", None), *(("cpu", level) for level in cpu.levels())]


@pytest.fixture(params=BACKENDS, ids=lambda b: b[0] if b[1] is None else f"{b[0]}-{b[1]}")
def backend(request, monkeypatch):
    name, level = request.param
    if level:
        monkeypatch.setenv("XENT_CPU_LEVEL", level)
    return select(name).backend


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)


@pytest.mark.parametrize("smoothing", [0.0, 0.125])
@pytest.mark.parametrize("name", ROWS)
def test_loss_and_gradient_against_mpmath(backend, dtype, name, smoothing):
    check_row(backend, dtype, name, smoothing, "float64" if backend is reference else None)


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("stored", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_linear_layer_against_the_reference(backend, dtype, stored, shape, soft):
    check_layer(backend, dtype, shape, soft, stored)


@pytest.mark.parametrize("check", sorted(set(CHECKS) - {"table", "linear"}))  # which are above, row by row
def test_backend(backend, dtype, check):
    CHECKS[check](backend, dtype)


@pytest.mark.parametrize("shape", [(5000, 30, 10), (3000, 40, 700), (200, 700, 9000)], ids=str)
def test_same_bits_for_any_number_of_threads(shape):
    x, w, b, target, weight = problem(shape, np.float32)
    before = get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 7):
            set_num_threads(threads)
            loss, grads = cpu.linear_fused(
                x, w, b, target, Slopes(1.0, -1.0, 0.0), weight=weight, need=Need(True, True, True)
            )
            results.append((loss, *grads))
    finally:
        set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_select_tells_its_reason(monkeypatch):
    monkeypatch.delenv("XENT_BACKEND", raising=False)
    assert select(dtype=np.float32).backend is cpu
    assert "native kernels take float32" in select(dtype=np.float32).reason
    assert select(dtype=np.float16).backend is cpu
    assert select(dtype=np.longdouble).backend is reference
    assert "no faster backend takes longdouble" in select(dtype=np.longdouble).reason.replace("float128", "longdouble")
    assert "asked for by name" in select("reference").reason
    monkeypatch.setenv("XENT_BACKEND", "reference")
    assert select().backend is reference
    assert "XENT_BACKEND" in select().reason
    with pytest.raises(ValueError, match=r"no backend 'gpu': there are cpu, reference"):
        select("gpu")
    with pytest.raises(TypeError, match=r"the cpu backend cannot take .*: reference can"):
        select("cpu", dtype=np.longdouble)
    with pytest.raises(TypeError, match="floating arrays, not int64"):
        select(dtype=np.int64)


def test_kernels_refuse_what_does_not_fit(monkeypatch):
    a = np.zeros((4, 3))
    slopes = Slopes(1.0, -1.0, 0.0)
    with pytest.raises(ValueError, match="a label is out of range"):
        cpu.row_fused(a, Target(np.array([0, 1, 2, 3])), slopes)
    with pytest.raises(ValueError, match="labels and rows differ in number"):
        cpu.row_fused(a, Target(np.zeros(3, int)), slopes)
    with pytest.raises(ValueError, match="probabilities and logits differ in shape"):
        cpu.row_stats(a, Target(None, np.zeros((4, 2))))
    with pytest.raises(ValueError, match=r"must share D: x has the shape \(4, 3\), w \(2, 5\)"):
        cpu.linear_stats(np.zeros((4, 3)), np.zeros((2, 5)), None, Target(np.zeros(4, int)))
    with pytest.raises(TypeError, match="takes float32, float64, bfloat16, float16 here, not int64"):
        cpu.row_stats(a.astype(int), Target(np.zeros(4, int)))
    with pytest.raises(ValueError, match=r"out is float32\[4, 3\], the logits are float64\[4, 3\]"):
        cpu.row_fused(a, Target(np.zeros(4, int)), slopes, out=np.zeros((4, 3), np.float32))
    monkeypatch.setenv("XENT_CPU_LEVEL", "abacus")
    with pytest.raises(ValueError, match=r"this machine has .*plain"):
        cpu.row_stats(a, Target(np.zeros(4, int)))
