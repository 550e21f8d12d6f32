"""Every benchmark: ``python -m benchmarks [--keep]``; one alone: ``python -m benchmarks.kernels --help``."""

from __future__ import annotations

import argparse

from . import edges, fits, info_kl, kernels, open_set, tables

BENCHMARKS = {
    "kernels": kernels.main,
    "fits": fits.main,
    "info_kl": info_kl.main,
    "tables": tables.main,
    "open_set": open_set.main,
    "edges": edges.main,
}


def main() -> None:
    """Run those named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], help="which ones (all by default)")
    parser.add_argument("--keep", action="store_true", help="write the figures under benchmarks/results")
    options = parser.parse_args()
    for name in options.names or BENCHMARKS:
        print(f"== {name}")
        BENCHMARKS[name](["--keep"] if options.keep else [])


if __name__ == "__main__":
    main()
