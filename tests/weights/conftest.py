from tests.networks import filled, small  # noqa: F401 (fixtures)

# They need other frameworks, and are run by hand.
collect_ignore_glob = ["make_golden*.py"]
