"""What is minimised, and how far coefficients are from its minimum: float64 NumPy, and none of xent's code.

``f(W, b) = mean_i ce_i + lambda2 |W|_2^2 / 2 + lambda1 |W|_1``; two classes have one row of coefficients.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit, logsumexp

ROWS = 10_000


def gradient(X: Any, y: np.ndarray, W: np.ndarray, b: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The mean cross-entropy in nats, and its gradients with respect to W (V, D) and b (V,)."""
    N, V = X.shape[0], W.shape[0]
    total, dW, db = 0.0, np.zeros_like(W), np.zeros_like(b)
    for start in range(0, N, ROWS):
        rows, label = X[start : start + ROWS], y[start : start + ROWS]
        z = np.asarray(rows @ W.T, dtype=np.float64) + b
        if V == 1:
            total += np.logaddexp(0, np.where(label == 1, -z[:, 0], z[:, 0])).sum()
            r = expit(z) - (label == 1)[:, None]
        else:
            log_p = z - logsumexp(z, axis=1, keepdims=True)
            total -= log_p[np.arange(len(label)), label].sum()
            r = np.exp(log_p)
            r[np.arange(len(label)), label] -= 1
        dW += np.asarray((rows.T @ r).T)
        db += r.sum(axis=0)
    return total / N, dW / N, db / N


def largest(
    X: Any, y: np.ndarray, W: np.ndarray, b: np.ndarray, l1: float, l2: float, *, free: bool = True
) -> tuple[float, float]:
    """The objective, and the largest entry of the subgradient nearest to zero; b's counts where b is `free`."""
    value, dW, db = gradient(X, y, W, b)
    value += l1 * np.abs(W).sum() + l2 / 2 * (W**2).sum()
    dW = dW + l2 * W
    dW = np.where(W != 0, dW + l1 * np.sign(W), np.sign(dW) * np.maximum(np.abs(dW) - l1, 0))
    return float(value), float(max(np.abs(dW).max(), np.abs(db).max() if free else 0.0))


def null(y: np.ndarray, V: int) -> np.ndarray:
    """The intercepts of no coefficients at all."""
    share = np.bincount(y) / len(y)
    return np.array([np.log(share[1] / share[0])]) if V == 1 else np.log(share)


def largest_penalty(X: Any, y: np.ndarray, V: int) -> float:
    """The smallest L1 strength that gives no coefficients."""
    return float(np.abs(gradient(X, y, np.zeros((V, X.shape[1])), null(y, V))[1]).max())


def at_zero(X: Any, y: np.ndarray, V: int) -> float:
    """The largest entry of the loss's gradient at W = 0, b = 0."""
    _, dW, db = gradient(X, y, np.zeros((V, X.shape[1])), np.zeros(V))
    return float(max(np.abs(dW).max(), np.abs(db).max()))
