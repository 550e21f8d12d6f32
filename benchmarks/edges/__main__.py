"""``python -m benchmarks.edges``."""

from . import main

main()
