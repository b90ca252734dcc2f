"""What a training step spends its time on, from a trace and the compiled program."""

import collections
import dataclasses
import heapq
import re
from collections.abc import Iterable, Mapping, Sequence

from flaxdrop.table import Table

LARGEST = 10
_NAMELESS = "copies and fills without a name"
# Their time is that of the instructions in them.
_CONTAINERS = ("while", "call", "conditional")
_INSTRUCTION = re.compile(r"\s*(?:ROOT )?%?([\w.\-]+) = (.*)")
_OPCODE = re.compile(r"(?:^|\s)([a-z][\w\-]*)\(")
_PATH = re.compile(r'op_name="([^"]*)"')


@dataclasses.dataclass(frozen=True)
class Event:
    """An instruction that ran.

    Attributes:
      instruction: its name in the compiled program.
      start: nanoseconds.
      end: likewise.
    """

    instruction: str
    start: float
    end: float


def paths(text: str) -> dict[str, str]:
    """Instruction -> where it comes from, as jax names it; "" where nothing is said.

    Loops, calls and conditionals are left out.

    Args:
      text: the compiled program, in HLO's text form.

    >>> line = '%add.1 = f32[2]{0} add(%a, %b), metadata={op_name="jit(f)/while/body/add"}'
    >>> paths("%while.2 = (f32[2]{0}, s32[]) while(%tuple), condition=%c, body=%b\\n" + line)
    {'add.1': 'jit(f)/while/body/add'}
    """
    found = {}
    for line in text.splitlines():
        instruction = _INSTRUCTION.match(line)
        opcode = instruction and _OPCODE.search(instruction[2])
        if not instruction or not opcode or opcode[1] in _CONTAINERS:
            continue
        path = _PATH.search(instruction[2])
        found[instruction[1]] = path[1] if path else ""
    return found


def part_of(path: str) -> str:
    """The part of a step that an instruction belongs to.

    >>> part_of("jit(f)/while/body/transpose(jvp(VGG))/conv2_1/linear/of_kernel/dot_general")
    'block 2, convolutions, gradient of kernel'
    >>> part_of("jit(f)/while/body/jvp(PreResNet)/stage1_first/norm1/sub")
    'batch norm, forward'
    """
    if not path:
        return _NAMELESS
    backward = "transpose(jvp(" in path
    way = "backward" if backward else "forward"
    for kind, pattern in (
        ("dropout", r"_dropout/"),
        ("batch norm", r"/norm\d?/"),
        ("dense layers", r"/(dense\d/linear|classifier)/"),
    ):
        if re.search(pattern, path):
            return f"{kind}, {way}"
    if re.search(r"/(conv\d|projection|stem|linear)/", path):
        return _convolutions(path, backward)
    if "/optimiser/" in path:
        return "optimiser"
    if re.search(r"jvp\(\w", path):
        if re.search(r"dynamic_(update_)?(index_in_dim|slice)|/closed_call$", path):
            return "copies of the loop over blocks (dynamic slices)"
        return f"ReLU, shortcuts and pooling, {way}"
    if "jvp(" in path:
        return f"loss, {way}"
    if "/order/" in path:
        return "order of the examples"
    return "augmentation, keys and counters"


def _convolutions(path: str, backward: bool) -> str:
    way = "forward"
    if backward:
        operand = re.search(r"/of_(image|kernel)/", path)
        way = f"gradient of {operand[1]}" if operand else "both gradients"
    stage, block = re.search(r"/stage(\d)_", path), re.search(r"/conv(\d)_\d/", path)
    place = f"stage {stage[1]}" if stage else f"block {block[1]}" if block else "stem"
    return f"{place}, convolutions, {way}"


def spent(events: Iterable[Event]) -> dict[str, float]:
    """Instruction -> its nanoseconds; their sum is the time from the first start to the last end.

    Time is shared equally among the instructions that run. When none does, it counts for the one
    that ended last: the trace of an instruction ends when its work is given to other threads.

    >>> spent([Event("a", 0, 4), Event("b", 2, 3), Event("c", 5, 6)])
    {'a': 4.5, 'b': 0.5, 'c': 1.0}
    """
    total: dict[str, float] = collections.defaultdict(float)
    ends: list[tuple[float, str]] = []
    now, last = float("-inf"), ""

    def share(until: float) -> None:
        nonlocal now, last
        while now < until:
            running = [name for _, name in ends]
            then = min(until, ends[0][0]) if ends else until
            for name in running or [last] * bool(last):
                total[name] += (then - now) / max(1, len(running))
            now = then
            while ends and ends[0][0] <= now:
                last = heapq.heappop(ends)[1]

    for event in sorted(events, key=lambda event: event.start):
        if not last and not ends:
            now = event.start
        share(event.start)
        if event.end > event.start:
            heapq.heappush(ends, (event.end, event.instruction))
    share(max((end for end, _ in ends), default=now))
    return dict(total)


def account(events: Sequence[Event], path_of: Mapping[str, str], steps: int) -> Table:
    """The largest parts of a step; all the others in one; the sum.

    Args:
      events: of the instructions that `path_of` has; others are left out.
      path_of: instruction -> where it comes from (`paths`).
      steps: how many were traced.
    """
    known = [event for event in events if event.instruction in path_of]
    total: dict[str, float] = collections.defaultdict(float)
    for instruction, nanoseconds in spent(known).items():
        total[part_of(path_of[instruction])] += nanoseconds / steps
    runs = collections.Counter(part_of(path_of[event.instruction]) for event in known)
    ordered = sorted(total, key=lambda part: -total[part])
    rest = ordered[LARGEST:]
    whole = sum(total.values())

    def row(name: str, parts: Sequence[str]) -> tuple[str, ...]:
        own = sum(total[part] for part in parts)
        count = sum(runs[part] for part in parts) / steps
        return name, f"{count:.0f}", f"{own / 1e6:.2f}", f"{own / whole if whole else 0:.1%}"

    cells = [row(part, [part]) for part in ordered[:LARGEST]]
    if rest:
        cells.append(row(f"{len(rest)} other parts", rest))
    cells.append(row("sum", ordered))
    notes = [
        "Instructions that run at the same time share it; a pause counts for the one before it,"
        " whose work other threads may still be doing.",
        "What the compiler fuses counts where the last of the fused operations belongs.",
    ]
    if rest:
        notes.insert(0, "Other parts: " + "; ".join(rest) + ".")
    return Table(("part", "instructions", "ms a step", "share"), tuple(cells), tuple(notes))
