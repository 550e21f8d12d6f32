"""Tiny cases of every family, measured with every installed peer, as JSON: for `test_benchmarks`, in its own process,
since JAX is told of float64 and torch of threads for good.
"""

import dataclasses
import json

from benchmarks.harness import pin
from benchmarks.kernels import limits
from benchmarks.kernels.case import Case
from benchmarks.kernels.growth import scaling
from benchmarks.kernels.run import Options, measure

CASES = [
    Case("logits", (40, 33), within=1e9, ahead={"torch eager": 1e-9, "SciPy": 1e9}),
    Case("logits", (40, 33), what="loss"),
    Case("logits", (50, 2), "float64"),
    Case("logits", (30, 20), "bfloat16"),
    Case("logits", (30, 20), "float16"),
    Case("linear", (50, 7, 33), what="all gradients"),
    Case("linear", (50, 7, 33), "float64", what="gradients in w"),
    Case("linear", (50, 7, 33), "bfloat16", what="all gradients"),
    Case("linear", (60, 20, 5), what="all gradients"),
    Case("linear", (60, 20, 2), what="gradients in w", within=1e9),
    Case("sparse", (60, 40, 2, 8), what="gradients in w"),
    Case("sparse", (60, 40, 5, 8), what="gradients in w"),
    Case("hvp", (50, 7, 9), what="Hessian-vector product"),
]
OPTIONS = Options(threads=1, repeats=2, budget=0.05, memory=False, without=("torch.compile",))


def main() -> None:
    pin(1)
    limits.SQUARE = 64
    rows = [measure(case, OPTIONS) for case in CASES]
    few = measure(dataclasses.replace(CASES[0], peers=("xent",)), OPTIONS)
    print(json.dumps({"rows": rows, "few": few, "scaling": scaling(1, CASES[:1])}))


if __name__ == "__main__":
    main()
