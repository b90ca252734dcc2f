"""A study and its config to copy: change both, and add a line to `benchmarks.harness.catalog`."""
