"""The short form of what `make torture` does for long: fields and placements by chance."""

import time

from hypothesis import HealthCheck, given, settings

from benchmarks.harness.catalog import load_study
from tests.torture import fuzz

SECONDS = 30  # of the processor, for a case


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(fuzz.PLACEMENTS)
def test_a_placement_is_read_or_refused_in_one_line(text):
    assert not fuzz.placement_fault(text)


@settings(
    max_examples=16,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(fuzz.cases())
def test_a_command_line_is_taken_or_refused_in_one_line(run_study, folder, case):
    began = time.process_time()
    said = run_study(load_study(case.study), *case.arguments)
    assert not fuzz.fault(said.status, said.err)
    assert time.process_time() - began < SECONDS
    assert [path.name for path in folder.iterdir()] == ["tiny.py"]
