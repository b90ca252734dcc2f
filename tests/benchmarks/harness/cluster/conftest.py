import pytest

from tests.benchmarks.harness.cluster.lab import Lab, why_not


@pytest.fixture
def lab(folder):
    """Hosts, each in a network namespace of its own; the folder is on storage that all see."""
    if reason := why_not():
        pytest.skip(reason)
    made = Lab(folder)
    try:
        yield made
    finally:
        made.close()
