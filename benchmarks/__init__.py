"""Benchmarks of jaxrnn and other libraries: equal work, interleaved in one process."""
