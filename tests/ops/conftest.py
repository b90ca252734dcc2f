from tests.networks import filled, small  # noqa: F401 (fixtures)
