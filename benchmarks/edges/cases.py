"""The rows: every numeric edge of cross-entropy and its kin, what is given there, and what the answer is.

A truth is written out where it is plain (an impossible event costs inf, nothing kept costs 0), and made by `truth` of
the loss' definition elsewhere. Conventions that a truth rests on:

- a mean is the weighted sum over the sum of the weights, whatever the kind of target, and 0 where nothing is kept;
- a row left out costs nothing, and nothing in it counts;
- a logit of -inf is a class of probability 0, and 0 log 0 is 0;
- a row with NaN, +inf or nothing but -inf among its logits has no softmax: it is NaN, and no other row is.
"""

from __future__ import annotations

import dataclasses
import math

from . import truth as t
from .case import Case, Refused, Truth

INF, NAN = math.inf, math.nan
REFUSED, NOTHING = Refused(), Truth(0.0, [[0.0, 0.0]])
NONE, MEAN = {"reduction": "none"}, {"reduction": "mean"}
SURE = 6.90625  # a logit of which the sigmoid is 0.999, exact in bfloat16
TINY_P = 1.0 / (1.0 + math.exp(200.0))  # the sigmoid of -200


def apart(*bad: float) -> Truth:
    """Two rows, of which the first has no answer and the second is (0, 0) with label 1."""
    return Truth([NAN, math.log(2)], [[NAN] * len(bad), [0.5, -0.5]])


BINARY = [
    Case("p = 0, y = 1", "binary, probabilities", [0.0], [1.0], Truth(INF, [-INF])),
    Case("p = 1, y = 0", "binary, probabilities", [1.0], [0.0], Truth(INF, [INF])),
    Case("p = 1, y = 1", "binary, probabilities", [1.0], [1.0], Truth(0.0, [-1.0])),
    Case("p = 1e-20, y = 1", "binary, probabilities", [1e-20], [1.0], Truth(-math.log(1e-20), [-1e20])),
    Case(
        "p = sigmoid(-200), y = 1, float64",
        "binary, probabilities",
        [TINY_P],
        [1.0],
        Truth(-math.log(TINY_P), [-1.0 / TINY_P]),
        dtype="float64",
    ),
    Case("p = NaN", "binary, probabilities", [NAN], [1.0], REFUSED),
    Case("p = 1.5", "binary, probabilities", [1.5], [1.0], REFUSED),
    Case("p = 1.5, jax.jit", "binary, probabilities", [1.5], [1.0], REFUSED, mode="jit"),
    Case("p = 0.5, y = 1.5", "binary, probabilities", [0.5], [1.5], REFUSED),
    Case(
        "logits +-1e4",
        "binary",
        [1e4, -1e4, 1e4, -1e4],
        [0.0, 1.0, 1.0, 0.0],
        t.sigmoid([1e4, -1e4, 1e4, -1e4], [t.no, t.yes, t.yes, t.no]),
    ),
    Case("logit 20, y = 1: sure and right", "binary", [20.0], [1.0], t.sigmoid([20.0], [t.yes])),
    Case("logits inf, y = 1 and -inf, y = 0", "binary", [INF, -INF], [1.0, 0.0], Truth(0.0, [0.0, 0.0])),
    Case("logit -inf, y = 1", "binary", [-INF], [1.0], Truth(INF, [-1.0])),
    Case("logit NaN beside another", "binary", [NAN, 0.0], [1.0, 1.0], Truth([NAN, math.log(2)], [NAN, -0.5]), NONE),
    Case("soft margin, x = 100, y = -1", "logistic", [100.0], [-1.0], Truth(100.0, [1.0])),
    Case("multi-label, logits inf and -inf", "multi-label", [[INF, -INF]], [[1.0, 0.0]], NOTHING),
]

SOFTMAX = [
    Case(
        "-inf on another class",
        "labels",
        [[1.0, -INF, 0.25]],
        [0],
        t.softmax([1.0, -INF, 0.25], t.cross_entropy([1, 0, 0])),
    ),
    Case("-inf on the target", "labels", [[-INF, 0.0]], [0], Truth(INF, [[-1.0, 1.0]])),
    Case(
        "-inf where a soft target is 0",
        "soft",
        [[1.0, -INF, 0.25]],
        [[0.5, 0.0, 0.5]],
        t.softmax([1.0, -INF, 0.25], t.cross_entropy([0.5, 0, 0.5])),
    ),
    Case(
        "-inf where a soft target is 0, safe form",
        "soft, safe",
        [[1.0, -INF, 0.25]],
        [[0.5, 0.0, 0.5]],
        t.softmax([1.0, -INF, 0.25], t.cross_entropy([0.5, 0, 0.5])),
    ),
    Case(
        "-inf where a soft target is 0, forward mode",
        "soft, safe",
        [[1.0, -INF, 0.25]],
        [[0.5, 0.0, 0.5]],
        t.softmax([1.0, -INF, 0.25], t.cross_entropy([0.5, 0, 0.5])),
        mode="forward",
    ),
    Case("-inf where a soft target is not", "soft", [[-INF, 0.0]], [[0.5, 0.5]], Truth(INF, [[-0.5, 0.5]])),
    Case(
        "-inf and smoothing 0.1",
        "soft",
        [[-INF, 0.0]],
        [[0.0, 1.0]],
        Truth(INF, [[-0.05, 0.05]]),
        {"label_smoothing": 0.1},
    ),
    Case("logit +inf, beside a row", "labels", [[INF, 0.0], [0.0, 0.0]], [0, 1], apart(INF, 0.0), NONE),
    Case("all logits -inf, beside a row", "labels", [[-INF, -INF], [0.0, 0.0]], [0, 1], apart(-INF, -INF), NONE),
    Case("logit NaN, beside a row", "labels", [[NAN, 0.0], [0.0, 0.0]], [0, 1], apart(NAN, 0.0), NONE),
    Case("logits +-1e4, the wrong one", "labels", [[1e4, -1e4]], [1], Truth(2e4, [[1.0, -1.0]])),
    Case(
        "offset 1e6",
        "labels",
        [[1e6, 1e6 + 0.5, 1e6 - 2]],
        [1],
        t.softmax([1e6, 1e6 + 0.5, 1e6 - 2], t.cross_entropy([0, 1, 0])),
    ),
    Case(
        "(20, 0), label 0: sure and right",
        "labels",
        [[20.0, 0.0]],
        [0],
        t.softmax([20.0, 0.0], t.cross_entropy([1, 0])),
    ),
    Case("label K", "labels", [[1.0, 0.25]], [2], REFUSED),
    Case("label -1", "labels", [[1.0, 0.25]], [-1], REFUSED),
    Case("label K, jax.jit", "labels", [[1.0, 0.25]], [2], REFUSED, mode="jit"),
    Case("label -1, jax.jit", "labels", [[1.0, 0.25]], [-1], REFUSED, mode="jit"),
    Case("int32 labels", "labels", [[0.0, 0.0]], [1], Truth(math.log(2), [[0.5, -0.5]]), labels="int32"),
    Case("p = 0 on the target", "probabilities", [[0.0, 1.0]], [[1.0, 0.0]], Truth(INF, [[-INF, 0.0]])),
    Case("probabilities all 0", "probabilities", [[0.0, 0.0]], [[1.0, 0.0]], REFUSED),
    Case("logits given as probabilities", "probabilities", [[-1.0, 2.0]], [[1.0, 0.0]], REFUSED),
    Case(
        "poly-1, -inf where a soft target is 0",
        "poly",
        [[1.0, -INF, 0.25]],
        [[1.0, 0.0, 0.0]],
        t.softmax([1.0, -INF, 0.25], lambda p: -t.log(p[0]) + 2 * (1 - p[0])),
        {"epsilon": 2.0},
    ),
    Case(
        "generalised (q = 0.75), (-100, 0), label 0",
        "generalized",
        [[-100.0, 0.0]],
        [[1.0, 0.0]],
        t.softmax([-100.0, 0.0], lambda p: (1 - p[0] ** 0.75) / 0.75),
        {"q": 0.75},
    ),
]

Z2 = [[1.5, 0.0], [0.5, 1.0]]
ROW0, ROW1 = (t.softmax(z, t.cross_entropy(q)) for z, q in zip(Z2, ([1, 0], [0, 1]), strict=True))
SMOOTH0 = t.softmax(Z2[0], t.cross_entropy([0.95, 0.05]))
KEPT0 = Truth(ROW0.value, [*ROW0.gradient, [0.0, 0.0]])
SMOOTH_KEPT0 = Truth(SMOOTH0.value, [*SMOOTH0.gradient, [0.0, 0.0]])
KL2 = [t.softmax(z, t.kl(q)) for z, q in zip(Z2, ([0.25, 0.75], [0.5, 0.5]), strict=True)]
BOTH = {**MEAN, "weight": [1.0, 3.0]}
IGNORE = {"ignore_index": -100}

MEANS = [
    Case("no rows", "labels", [[0.0, 0.0]][:0], [], Truth(0.0, []), MEAN),
    Case("no rows, forward mode", "labels", [[0.0, 0.0]][:0], [], Truth(0.0, []), MEAN, mode="forward"),
    Case("every row ignored", "labels", [[1.0, 0.25]], [-100], NOTHING, {**MEAN, **IGNORE}),
    Case("weights that sum to 0", "labels", [[1.0, 0.25]], [0], NOTHING, {**MEAN, "weight": [0.0, 1.0]}),
    Case("class weights 1, 3, labels", "labels", Z2, [0, 1], t.rows(ROW0, ROW1, weights=[1, 3]), BOTH),
    Case(
        "class weights 1, 3, the labels as probabilities",
        "soft",
        Z2,
        [[1.0, 0.0], [0.0, 1.0]],
        t.rows(ROW0, ROW1, weights=[1, 3]),
        BOTH,
    ),
    Case(
        "pos_weight 3: class weights 1, 3 of yes and no",
        "binary",
        [2.0, -1.0],
        [1.0, 0.0],
        t.sigmoid([2.0, -1.0], [lambda p, n: 0.75 * t.yes(p, n), lambda p, n: 0.25 * t.no(p, n)]),
        {**MEAN, "pos_weight": [3.0]},
    ),
    Case("NaN in an ignored row", "labels", [Z2[0], [NAN, 1.0]], [0, -100], KEPT0, IGNORE),
    Case("inf in an ignored row", "labels", [Z2[0], [INF, 1.0]], [0, -100], KEPT0, IGNORE),
    Case(
        "an ignored row, smoothing 0.1",
        "labels",
        Z2,
        [0, -100],
        SMOOTH_KEPT0,
        {**MEAN, **IGNORE, "label_smoothing": 0.1},
    ),
    Case("KL of two rows of two classes", "kl", Z2, [[0.25, 0.75], [0.5, 0.5]], t.rows(*KL2, weights=[1, 1]), MEAN),
    Case(
        "a layer, NaN in an ignored row: gradient in w",
        "layer",
        [[0.0, 0.0], [0.0, 0.0]],
        [0, -100],
        Truth(math.log(2), [[-0.5, -1.0], [0.5, 1.0]]),
        {"x": [[1.0, 2.0], [NAN, 1.0]]},
    ),
    Case("a layer, every row ignored", "adaptive", [[1.0, 2.0]], [-100], NOTHING, {"w": [[1.0, 0], [0, 1], [1, 1]]}),
    Case("a layer, no rows", "adaptive", [[1.0, 2.0]][:0], [], Truth(0.0, []), {"w": [[1.0, 0], [0, 1], [1, 1]]}),
]

Z3, T3 = [1.0, 0.5, -INF], [0.0, 1.0, -INF]
NEAR = [1.0 + 2.0**-10, 0.0, -1.0]
DIVERGENCES = [
    Case("KL, target 0 where the logit is -inf", "kl", [Z3], [[0.5, 0.5, 0.0]], t.softmax(Z3, t.kl([0.5, 0.5, 0]))),
    Case("KL, target 0", "kl", [[1.5, 0.5, 0.0]], [[0.5, 0.5, 0.0]], t.softmax([1.5, 0.5, 0.0], t.kl([0.5, 0.5, 0]))),
    Case("KL, a target's logit -inf", "distill", [[1.5, 0.5, 0.0]], [T3], t.distill([1.5, 0.5, 0.0], T3)),
    Case("KL, both logits -inf", "distill", [Z3], [T3], t.distill(Z3, T3)),
    Case("KL of nearly equal logits", "distill", [NEAR], [[1.0, 0.0, -1.0]], t.distill(NEAR, [1.0, 0.0, -1.0])),
]


def binary_focal(z: float, gamma: float) -> Truth:
    """The focal loss of a yes."""
    return t.sigmoid([z], [lambda p, n: n**gamma * t.yes(p, n)])


FOCAL = [
    Case("gamma 0.5, logit 17, y = 1", "binary focal", [17.0], [1.0], binary_focal(17, 0.5), {"gamma": 0.5}),
    Case("gamma 0.5, logit 100, y = 1", "binary focal", [100.0], [1.0], binary_focal(100, 0.5), {"gamma": 0.5}),
    Case("gamma 0, logit 100, y = 1", "binary focal", [100.0], [1.0], binary_focal(100, 0), {"gamma": 0.0}),
    Case("gamma 2, logit -100, y = 1", "binary focal", [-100.0], [1.0], binary_focal(-100, 2), {"gamma": 2.0}),
    Case(
        "gamma 2, softmax of (-100, 0), label 0",
        "focal",
        [[-100.0, 0.0]],
        [[1.0, 0.0]],
        t.softmax([-100.0, 0.0], lambda p: -((1 - p[0]) ** 2) * t.log(p[0])),
        {"gamma": 2.0},
    ),
    Case(
        "gamma 0.5, softmax of (17, 0), label 0",
        "focal",
        [[17.0, 0.0]],
        [[1.0, 0.0]],
        t.softmax([17.0, 0.0], lambda p: -((1 - p[0]) ** 0.5) * t.log(p[0])),
        {"gamma": 0.5},
    ),
]

HALF = [
    Case(
        "bfloat16 (0, 15), label 0",
        "labels",
        [[0.0, 15.0]],
        [0],
        t.softmax([0, 15], t.cross_entropy([1, 0])),
        dtype="bfloat16",
    ),
    Case(
        "bfloat16, p = 0.999",
        "labels",
        [[SURE, 0.0]],
        [0],
        t.softmax([SURE, 0], t.cross_entropy([1, 0])),
        dtype="bfloat16",
    ),
    Case("bfloat16, p = 0.999, binary", "binary", [SURE], [1.0], t.sigmoid([SURE], [t.yes]), dtype="bfloat16"),
    Case(
        "bfloat16, p = 0.999, focal",
        "binary focal",
        [SURE],
        [1.0],
        binary_focal(SURE, 2),
        {"gamma": 2.0},
        dtype="bfloat16",
    ),
    Case(
        "float16 (60000, -60000), label 1", "labels", [[6e4, -6e4]], [1], Truth(1.2e5, [[1.0, -1.0]]), dtype="float16"
    ),
    Case(
        "float16 (65504, 65472), label 1",
        "labels",
        [[65504.0, 65472.0]],
        [1],
        Truth(32.0, [[1.0, -1.0]]),
        dtype="float16",
    ),
    Case(
        "float16 logit 7e4 is inf", "labels", [[7e4, 0.0], [0.0, 0.0]], [0, 1], apart(INF, 0.0), NONE, dtype="float16"
    ),
]

# In three dimensions, with the other class' centre opposite to the target's.
POLES = {"w": [[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]}
CORNER = {"w": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]}
CLOSE, FAR = [1.0, 1e-4, 0.0], [-1.0, 1e-4, 0.0]
AHEAD, BEHIND = [[2.0, 0.0, 0.0]], [[-2.0, 0.0, 0.0]]
ARC, FREE, UP = t.psi_arc(0.5), t.psi_arc(0.5, monotone=False), [1.0, 0.0, 0.0]
# Along a ray nothing changes and beside it no direction is better than its opposite: 0 is what a zero embedding has.
ZERO = Truth(math.log1p(math.exp(math.sin(0.5))), [[0.0, 0.0, 0.0]])

MARGINS = [
    Case(
        "ArcFace, the embedding on its centre",
        "arcface",
        AHEAD,
        [0],
        t.pole(2, 1, ARC, math.sin(0.5)),
        POLES,
    ),
    Case("ArcFace, 1e-4 from its centre", "arcface", [CLOSE], [0], t.margin(CLOSE, CORNER["w"], 0, ARC), CORNER),
    Case("ArcFace, opposite to its centre", "arcface", BEHIND, [0], t.pole(2, -1, ARC, 0.0), POLES),
    Case("ArcFace, 1e-4 from opposite", "arcface", [FAR], [0], t.margin(FAR, CORNER["w"], 0, ARC), CORNER),
    Case(
        "ArcFace as in the paper, opposite",
        "arcface as in the paper",
        BEHIND,
        [0],
        t.pole(2, -1, FREE, math.sin(0.5)),
        POLES,
    ),
    Case("ArcFace, a zero embedding", "arcface", [[0.0, 0.0, 0.0]], [0], ZERO, CORNER),
    Case("ArcFace, no rows", "arcface", [UP][:0], [], Truth(0.0, []), CORNER),
    Case("ArcFace, label K", "arcface", [UP], [2], REFUSED, CORNER),
    Case("ArcFace, label -1", "arcface", [UP], [-1], REFUSED, CORNER),
    Case(
        "ArcFace, int32 labels",
        "arcface",
        [[0.0, 0.0, 1.0]],
        [0],
        t.margin([0, 0, 1], CORNER["w"], 0, ARC),
        CORNER,
        labels="int32",
    ),
    Case(
        "SphereFace, on its centre",
        "sphereface",
        AHEAD,
        [0],
        t.margin([2, 0, 0], POLES["w"], 0, t.psi_sphere, True),
        POLES,
    ),
    Case(
        "SphereFace, opposite",
        "sphereface",
        BEHIND,
        [0],
        t.margin([-2, 0, 0], POLES["w"], 0, t.psi_sphere, True),
        POLES,
    ),
    Case(
        "SphereFace, 1e-4 from opposite",
        "sphereface",
        [FAR],
        [0],
        t.margin(FAR, CORNER["w"], 0, t.psi_sphere, True),
        CORNER,
    ),
]

SECTIONS = {
    "Yes or no, from probabilities and logits": BINARY,
    "Softmax": SOFTMAX,
    "Means, weights, rows left out": MEANS,
    "Divergences": DIVERGENCES,
    "Focal loss": FOCAL,
    "Half precisions": HALF,
    "Margins": MARGINS,
}


def sections(dtype: str = "float32") -> dict[str, list[Case]]:
    """The rows, those of float32 in another dtype perhaps."""
    return {
        title: [dataclasses.replace(case, dtype=dtype) if case.dtype == "float32" else case for case in cases]
        for title, cases in SECTIONS.items()
    }
