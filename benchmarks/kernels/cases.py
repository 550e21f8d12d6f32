"""The cases, with what each must show."""

from __future__ import annotations

from .case import Case

W, ALL, PRODUCT = "gradients in w", "all gradients", "Hessian-vector product"
HUGE = 10**9  # logits: such a layer takes a peer a quarter of a minute a call, and most of them run once
HUGE_PEERS = ("xent", "xent for PyTorch", "torch eager", "torch.compile", "torch chunks", "torch best chunks", "JAX")

# Against PyTorch at every shape of logits.
LOGITS_AHEAD = {"torch eager": 12.0, "torch.compile": 6.0}
# rows, classes: the time of loss and gradient over that of a copy
LOGITS = {(4096, 32000): 1.25, (65536, 1000): 1.25, (400_000, 100): 1.5, (1_000_000, 10): 2.0, (4_000_000, 2): 2.0}
READING = 1.25
# rows, features, classes: the time over the limit's
LAYERS = {
    (20_000, 256, 1000): 1.15,
    (4096, 1024, 32_000): 1.15,
    (8192, 512, 128_000): 1.15,
    (50_000, 128, 100): 1.3,
    (60_000, 784, 10): 1.5,
    (500_000, 30, 16): 1.5,
    (1_000_000, 50, 2): 1.5,
}
HALVES = ((20_000, 256, 1000), (4096, 1024, 32_000))
SPARE = 64.0  # MiB beyond the gradients
SCIKIT_LEARN = 5.0  # at the first shapes of layers
SCIKIT_LEARN_LAYERS = 5
SPARSE = 3.0


def _logits() -> list[Case]:
    cases = []
    for shape, within in LOGITS.items():
        cases.append(Case("logits", shape, within=within, ahead=LOGITS_AHEAD, peaks=None))
        cases.append(Case("logits", shape, what="loss", within=READING))
    for dtype in ("float64", "bfloat16", "float16"):
        peaks = ("xent for PyTorch", "torch eager")
        cases += [Case("logits", shape, dtype, peaks=peaks) for shape in ((65536, 1000), (1_000_000, 10))]
    return cases


def _layers() -> list[Case]:
    cases = []
    for i, (shape, within) in enumerate(LAYERS.items()):
        ahead = {"scikit-learn": SCIKIT_LEARN} if i < SCIKIT_LEARN_LAYERS else {}
        huge = shape[0] * shape[2] >= HUGE
        peers, peaks = (("xent", "scikit-learn"), ("xent", "torch eager")) if huge else (None, None)
        most = HUGE_PEERS if huge else None
        cases += [
            Case(
                "linear",
                shape,
                what=W,
                within=within,
                ahead=ahead,
                spare=SPARE,
                peers=peers,
                peaks=("xent", "scikit-learn"),
            ),
            Case("linear", shape, what=ALL, within=within, spare=SPARE, peers=most, peaks=peaks),
        ]
    cases += [Case("linear", shape, "float64", W) for shape in ((20_000, 256, 1000), (60_000, 784, 10))]
    # by PyTorch's products, in the same memory
    halves = [Case("linear", shape, "bfloat16", ALL, peaks=("xent for PyTorch", "torch eager")) for shape in HALVES]
    return cases + halves


def everything() -> list[Case]:
    """All cases of the command."""
    sparse = [Case("sparse", (100_000, 50_000, K, 100), what=W, ahead={"scikit-learn": SPARSE}) for K in (2, 10)]
    products = [Case("hvp", shape, what=PRODUCT) for shape in ((20_000, 256, 1000), (60_000, 784, 10))]
    return [*_logits(), *_layers(), *sparse, *products]


def quick() -> list[Case]:
    """A few small ones, to see that everything runs: their figures say little."""
    return [
        Case("logits", (1024, 8000), peaks=("xent", "torch eager")),
        Case("logits", (1024, 8000), what="loss"),
        Case("logits", (200_000, 10)),
        Case("logits", (4096, 1000), "bfloat16"),
        Case("linear", (4000, 256, 1000), what=ALL, spare=SPARE, peaks=("xent", "torch eager")),
        Case("linear", (60_000, 78, 10), what=W),
        Case("sparse", (10_000, 5_000, 10, 100), what=W),
        Case("hvp", (4000, 256, 100), what=PRODUCT),
    ]
