"""The time that the compiler of a TPU expects of a program, read from the compiled program."""

import dataclasses
import re
from collections.abc import Mapping

# Published: 197 TFLOP/s in bfloat16 of a TPU v5e, which has 4 units of 128 x 128 multiply-adds.
HERTZ = 197e12 / (4 * 128 * 128 * 2)

_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.\-]+) .*\{$")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_LOOP = re.compile(r" while\(.*condition=%?([\w.\-]+), body=%?([\w.\-]+)")
_BRANCHES = re.compile(r" conditional\(.*branch_computations=\{([^}]*)\}")
_CALL = re.compile(r" call\(.*to_apply=%?([\w.\-]+)")
_CALLED = re.compile(r"(?:calls|to_apply)=%?([\w.\-]+)")
_NUMBER = re.compile(r" [su]32\[\][^=]* constant\((\d+)\)")


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a program costs, one round of each loop whose length is not known to the compiler.

    Attributes:
      cycles: that the compiler expects.
      open_loops: how many loops have no length that is known.
    """

    cycles: int
    open_loops: int

    @property
    def seconds(self) -> float:
        """On a TPU v5e, at the clock that follows from its published speed."""
        return self.cycles / HERTZ


def estimate(text: str) -> Estimate:
    """Adds up the estimates of a program's instructions, in its loops as often as they run.

    Args:
      text: the compiled program, HLO in text form.

    >>> program = '''
    ... %more (a: s32[]) -> pred[] {
    ...   %n = s32[] constant(5)
    ...   ROOT %c = pred[] compare(%a, %n), direction=LT
    ... }
    ... %body (a: s32[]) -> s32[] {
    ...   ROOT %b = s32[] add(%a, %a), backend_config={"estimated_cycles":"10"}
    ... }
    ... ENTRY %main (a: s32[]) -> s32[] {
    ...   ROOT %w = s32[] while(%a), condition=%more, body=%body
    ... }'''
    >>> estimate(program)
    Estimate(cycles=50, open_loops=0)
    """
    computations: dict[str, list[str]] = {}
    entry, own = "", []
    for line in text.splitlines():
        if not line.startswith(" ") and (found := _COMPUTATION.match(line)):
            own = computations.setdefault(found[2], [])
            entry = found[2] if found[1] else entry
        else:
            own.append(line)
    return _cost(computations, entry)


def _cost(computations: Mapping[str, list[str]], name: str) -> Estimate:
    cycles = open_loops = 0
    for line in computations.get(name, ()):
        if loop := _LOOP.search(line):
            rounds, inner = _rounds(computations, loop[1]), _cost(computations, loop[2])
            cycles += (rounds or 1) * inner.cycles
            open_loops += inner.open_loops + (rounds is None)
        elif branches := _BRANCHES.search(line):
            names = [branch.strip(" %") for branch in branches[1].split(",")]
            each = [_cost(computations, branch) for branch in names]
            cycles += max(branch.cycles for branch in each)
            open_loops += max(branch.open_loops for branch in each)
        elif call := _CALL.search(line):
            inner = _cost(computations, call[1])
            cycles, open_loops = cycles + inner.cycles, open_loops + inner.open_loops
        elif own := _CYCLES.search(line):
            cycles += int(own[1])
    return Estimate(cycles, open_loops)


def _rounds(computations: Mapping[str, list[str]], condition: str) -> int | None:
    """How often a loop runs that counts from 0 to the only number in its condition."""
    lines = list(computations.get(condition, ()))
    for line in tuple(lines):
        if called := _CALLED.search(line):
            lines += computations.get(called[1], ())
    numbers = {int(found[1]) for line in lines if (found := _NUMBER.search(line))}
    is_counted = any("direction=LT" in line for line in lines)
    return numbers.pop() if len(numbers) == 1 and is_counted else None
