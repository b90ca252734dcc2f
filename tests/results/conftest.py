from tests.rows import make_row, make_study  # noqa: F401 (fixtures)
