"""What the tests of coordinates share: the Hessian of a softmax model as textbooks write it."""

from __future__ import annotations

import numpy as np


def class_blocks(f, theta):
    """Of the Hessian of a `SoftmaxObjective` at theta (K, P), without the penalty: each class's block, (K, P, P)."""
    X = np.hstack([f.X, np.ones((len(f.X), 1))]) if f.fit_intercept else f.X
    z = X @ theta.T
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    q = p * (1 - p) * f.weight[:, None]
    return np.array([(X * q[:, [k]]).T @ X for k in range(theta.shape[0])])
