"""The kernels beside their peers and the machine's limits: ``python -m benchmarks [options]``.

Another benchmark: ``python -m benchmarks NAME [options]``, or several names, or "all". NAME is coverage, edges,
estimators, evaluation, fits, info_kl, kernels, open_set, small, tables, tuning or verdicts.
``python -m benchmarks [NAME] --help`` shows the options.
"""

from __future__ import annotations

import importlib
import itertools
import sys

BENCHMARKS = (
    "kernels",
    "fits",
    "estimators",
    "small",
    "tuning",
    "info_kl",
    "tables",
    "open_set",
    "edges",
    "evaluation",
    "coverage",
    "verdicts",
)


def main(arguments: list[str] | None = None) -> None:
    """Run those named first, the kernels by default, with the options that follow."""
    given = sys.argv[1:] if arguments is None else arguments
    names = list(itertools.takewhile(lambda a: not a.startswith("-"), given))
    options = given[len(names) :]
    unknown = [n for n in names if n not in (*BENCHMARKS, "all")]
    if unknown:
        sys.exit(f"no benchmark {', '.join(unknown)}: there are {', '.join(BENCHMARKS)}, or all")
    chosen = BENCHMARKS if "all" in names else names or ["kernels"]
    for name in chosen:
        if len(chosen) > 1:
            print(f"== {name}")
        importlib.import_module(f".{name}", __package__).main(options)


if __name__ == "__main__":
    main()
