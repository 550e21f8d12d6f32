"""``python -m benchmarks.kernels``."""

from . import main

main()
