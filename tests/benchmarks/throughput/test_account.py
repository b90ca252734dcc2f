import numpy as np
import pytest

from benchmarks.throughput.account import LARGEST, Event, account, part_of, paths, spent


def random_events(random, count):
    starts = random.uniform(0, 100, count)
    ends = starts + random.exponential(3, count) * (random.random(count) < 0.9)
    names = random.choice(list("abc"), count)
    return [Event(str(n), float(s), float(e)) for n, s, e in zip(names, starts, ends, strict=True)]


@pytest.mark.parametrize("seed", range(5))
def test_the_shares_sum_to_the_time_from_the_first_start_to_the_last_end(seed):
    events = random_events(np.random.default_rng(seed), 60)
    long = [event for event in events if event.end > event.start]
    whole = max(event.end for event in long) - min(event.start for event in long)
    assert sum(spent(events).values()) == pytest.approx(whole)


def test_one_after_the_other_each_gets_its_own_time():
    assert spent([Event("b", 3, 8), Event("a", 1, 3), Event("b", 8, 9)]) == {"a": 2, "b": 6}


def test_what_runs_at_the_same_time_shares_it():
    assert spent([Event("a", 0, 9), Event("b", 0, 9), Event("c", 0, 9)]) == dict.fromkeys("abc", 3)


def test_a_pause_counts_for_what_ended_before_it():
    assert spent([Event("a", 0, 1), Event("b", 0, 2), Event("c", 5, 6)]) == {
        "a": 0.5,
        "b": 4.5,
        "c": 1,
    }


def test_no_event_takes_no_time():
    assert spent([]) == {}


def test_containers_have_no_path_and_instructions_without_metadata_an_empty_one():
    text = """
  %body.1 (arg: (s32[])) -> (s32[]) {
  ROOT %fusion.3 = (f32[4]{0}, f32[]) fusion(%p.1), kind=kLoop, metadata={op_name="a/b" id=3}
  %copy.7 = u32[4]{0:T(128)} copy(%get-tuple-element.1)
  %while.9 = (s32[], f32[2,3]{1,0}) while(%tuple.3), metadata={op_name="a/while"}
  %call.1 = f32[] call(%x), to_apply=%y, metadata={op_name="a/c"}
  %conditional.2 = f32[] conditional(%i, %x, %y), metadata={op_name="a/cond"}
"""
    assert paths(text) == {"fusion.3": "a/b", "copy.7": ""}


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("jvp(PreResNet)/stem/cond/b/conv_general_dilated", "stem, convolutions, forward"),
        ("jvp(PreResNet)/while/body/stage2_rest/conv1/cond/dot", "stage 2, convolutions, forward"),
        (
            "transpose(jvp(PreResNet))/stage2_rest/conv1/cond/of_image/while/body/dot",
            "stage 2, convolutions, gradient of image",
        ),
        (
            "transpose(jvp(PreResNet))/stage3_first/conv1/transpose",
            "stage 3, convolutions, both gradients",
        ),
        ("transpose(jvp(VGG))/conv1_2/norm/add", "batch norm, backward"),
        ("jvp(VGG)/conv1_1/conv1_dropout/select_n", "dropout, forward"),
        ("jvp(VGG)/dense1/linear/dot_general", "dense layers, forward"),
        ("transpose(jvp(VGG))/conv1_1/select_n", "ReLU, shortcuts and pooling, backward"),
        (
            "jvp(PreResNet)/while/body/jit(dynamic_update_index_in_dim)/dynamic_update_slice",
            "copies of the loop over blocks (dynamic slices)",
        ),
        ("jit(of_all)/while/body/optimiser/add", "optimiser"),
        ("jit(of_all)/while/body/jvp()/exp", "loss, forward"),
        ("jit(of_all)/order/while/body/xor", "order of the examples"),
        ("jit(of_all)/while/body/gather", "augmentation, keys and counters"),
    ],
)
def test_the_parts_of_a_step(path, part):
    assert part_of(path) == part


def test_the_table_has_the_largest_parts_the_others_and_their_sum():
    path_of = {str(i): f"jvp(PreResNet)/stage{i % 9}_first/conv1/dot" for i in range(9)}
    path_of |= {"norm": "jvp(N)/norm/add", "order": "f/order/while", "keys": "xor"}
    events = [Event(name, 1e7 * i, 1e7 * i + 1e7) for i, name in enumerate(path_of)]
    table = account([*events, Event("of another program", 0, 1e9)], path_of, steps=2)
    assert len(table.cells) == LARGEST + 2
    times = [float(cell[2]) for cell in table.cells]
    assert times[-1] == pytest.approx(sum(times[:-1])) == pytest.approx(10 * len(path_of) / 2)
    assert table.cells[-1][-1] == "100.0%"
