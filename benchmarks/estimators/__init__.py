"""Whole fits beside every installed peer: the same objective, to the same gradient, in CPU seconds of one thread.

    python -m benchmarks estimators                         # every case and peer, with a budget for each fit
    python -m benchmarks estimators --only 'binary'         # cases by regular expression
    python -m benchmarks estimators --peers 'xent|sklearn'  # peers by regular expression
    python -m benchmarks estimators --scaling               # xent's fits on one thread and on two, by the clock

Each fit runs in a process of its own, on one processor, which loads the data, fits something small first (compilers,
libraries), takes the processor's time of one fit, and judges the result in float64 with NumPy: the largest entry of the
objective's gradient over that at zero (with an L1 penalty: of the subgradient nearest to zero). A peer is given the
largest of the tolerances 1e-2 ... 1e-10 whose result meets the target; those then run in turn, and medians are shown.
Peers that are not installed are left out, and named.
"""

from .run import main

__all__ = ["main"]
