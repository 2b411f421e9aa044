"""Faults planted in the library, each of which a test must find: `make mutants`."""
