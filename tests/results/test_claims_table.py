from flaxdrop.results.claims import Claim
from flaxdrop.results.claims_table import claims_table
from flaxdrop.results.comparison import compare

HELPS = Claim("P6 helps", "nobody", (("p6", "none"),))


def last_entry(make_row, accuracies):
    rows = [
        make_row(variant, seed, accuracy=accuracy)
        for variant, of_seeds in accuracies.items()
        for seed, accuracy in enumerate(of_seeds)
    ]
    [entry] = claims_table(compare(rows, baseline="none"), [HELPS]).cells
    return entry[-1]


def test_one_seed_does_not_tell_how_many_it_takes(make_row):
    assert last_entry(make_row, {"none": [0.5], "p6": [0.6]}) == "-"


def test_more_seeds_do(make_row):
    said = last_entry(make_row, {"none": [0.50, 0.56], "p6": [0.55, 0.57]})
    assert int(said) > 2
