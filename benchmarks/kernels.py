"""Loss and gradient of logits beside a copy of them, and one evaluation of a softmax regression's objective beside
scikit-learn's and beside the bare matrix products. Run ``python -m benchmarks.kernels``.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import xent
from xent.kernels import Need, Slopes, Target, select

from .harness import in_turn, report, versions

PLAIN = Slopes(1.0, -1.0, 0.0)
LOGITS = [(65536, 1000), (4096, 32000)]
LAYERS = [(60_000, 784, 10), (20_000, 256, 1000)]


def logits_case(N: int, K: int, threads: int, repeats: int) -> dict[str, Any]:
    """Loss and gradient of (N, K) float32 logits."""
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(N, K)).astype(np.float32), rng.integers(0, K, N)
    copy, grad, target = np.ones_like(z), np.ones_like(z), Target(y)
    backend = select(dtype=z.dtype).backend
    candidates = {
        "copy": lambda: np.copyto(copy, z),
        "xent": lambda: backend.row_fused(z, target, PLAIN, out=grad),
    }
    try:
        import torch
    except ImportError:
        torch = None
    if torch is not None:
        torch.set_num_threads(threads)
        t, labels = torch.from_numpy(z).requires_grad_(), torch.from_numpy(y)

        def eager() -> None:
            t.grad = None
            torch.nn.functional.cross_entropy(t, labels, reduction="sum").backward()

        candidates["torch"] = eager
    medians = in_turn(candidates, repeats)
    if torch is not None:
        np.testing.assert_allclose(grad, t.grad.numpy(), atol=1e-5)
    row = {"case": f"logits {N} x {K} f32", **{f"{k} ms": v * 1e3 for k, v in medians.items()}}
    row["limit"], row["xent / limit"] = "a copy", medians["xent"] / medians["copy"]
    if torch is not None:
        row["torch / xent"] = medians["torch"] / medians["xent"]
    return row


def layer_case(N: int, D: int, K: int, dtype: Any, threads: int, repeats: int) -> dict[str, Any]:
    """Value and gradient in W and b of the mean cross-entropy of X W' + b."""
    from sklearn._loss import HalfMultinomialLoss
    from sklearn.linear_model._linear_loss import LinearModelLoss

    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, D)).astype(dtype)
    w, b = (rng.normal(size=(K, D)) / np.sqrt(D)).astype(dtype), rng.normal(size=K).astype(dtype)
    y = rng.integers(0, K, N)
    backend, target, weight = select(dtype=x.dtype).backend, Target(y), np.full(N, 1 / N)
    theirs = LinearModelLoss(base_loss=HalfMultinomialLoss(n_classes=K), fit_intercept=True)
    coef = np.asfortranarray(np.column_stack([w, b]))
    labels = y.astype(dtype)
    z = np.empty((N, K), dtype)

    def ours() -> Any:
        return backend.linear_fused(x, w, b, target, PLAIN, weight=weight, need=Need(False, True, True))

    medians = in_turn(
        {
            "xent": ours,
            "scikit-learn": lambda: theirs.loss_gradient(coef, x, labels, n_threads=threads),
            "products": lambda: (np.matmul(x, w.T, out=z), z.T @ x),
        },
        repeats,
    )
    value, gradient = theirs.loss_gradient(coef, x, labels, n_threads=threads)
    loss, grads = ours()
    eps = float(np.finfo(dtype).eps)
    assert abs(loss.mean() - value) < 100 * eps * value
    np.testing.assert_allclose(np.column_stack([grads.w, grads.bias]), gradient, atol=2e3 * eps)
    return {
        "case": f"layer {N} x {D} x {K} {'f32' if dtype == np.float32 else 'f64'}",
        **{f"{k} ms": v * 1e3 for k, v in medians.items()},
        "limit": "bare products (NumPy)",
        "xent / limit": medians["xent"] / medians["products"],
        "scikit-learn / xent": medians["scikit-learn"] / medians["xent"],
        "GFLOP/s": 4 * N * D * K / medians["xent"] / 1e9,
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--keep", action="store_true", help="write the figures under benchmarks/results")
    options = parser.parse_args(arguments)
    xent.set_num_threads(options.threads)
    rows = []
    with threadpool_limits(options.threads, user_api="blas"):
        rows += [logits_case(N, K, options.threads, options.repeats) for N, K in LOGITS]
        rows += [
            layer_case(N, D, K, dtype, options.threads, options.repeats)
            for N, D, K in LAYERS
            for dtype in (np.float32, np.float64)
        ]
    columns = ["case", "xent ms", "copy ms", "torch ms", "scikit-learn ms", "products ms"]
    columns += ["xent / limit", "torch / xent", "scikit-learn / xent", "GFLOP/s"]
    installed = versions("xent", "numpy", "scipy", "scikit-learn", "torch")
    report("kernels", rows, columns, options.keep, threads=options.threads, versions=installed)


if __name__ == "__main__":
    main()
