"""Tests of random words by published definitions; counts add up over any number of words.

A battery counts in blocks of words. Its p-values, of both tails, then judge all that was counted:
one below `ALARM` in either tail is an alarm, so that perfect words give one with a probability of
2 * ALARM for each p-value.

References:
  D. Knuth, The Art of Computer Programming, volume 2, section 3.3.2: serial, gap, maximum of t,
  permutation and serial correlation tests. G. Marsaglia and W. Tsang, Some difficult-to-pass tests
  of randomness, 2002: birthday spacings. NIST SP 800-22: frequency, runs, rank. P. L'Ecuyer and
  R. Simard, TestU01, 2007: Hamming weights, autocorrelation.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from scipy import stats

ALARM = 1e-6
_LAGS = (1, 2, 3, 4, 5, 7, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
_RATE = 0.1  # of the gap test: how far apart dropped units are
_GAPS = 64
_BIRTHDAYS = 4096  # of a year of 2^32 days: 4 equal spacings on average
_EQUAL = 12
_OF = 8  # words of which the maximum is taken
_CELLS = 128


def _bits(words: np.ndarray) -> np.ndarray:
    """How many words have each bit: `[32]`."""
    return np.array([np.count_nonzero(words & np.uint32(1 << bit)) for bit in range(32)])


def frequency(words: np.ndarray) -> np.ndarray:
    """Ones of each of the 32 bits, and the words."""
    return np.append(_bits(words), len(words))


def judge_frequency(counts: np.ndarray) -> float:
    """The p-value of `frequency`."""
    return _of_binomials(counts[:-1], counts[-1])


def autocorrelation(words: np.ndarray) -> np.ndarray:
    """Bits that differ from those some words before; of lag 1 it is the runs test of each bit."""
    rows = [np.append(_bits(words[lag:] ^ words[:-lag]), len(words) - lag) for lag in _LAGS]
    return np.array(rows)


def judge_autocorrelation(counts: np.ndarray) -> float:
    """The p-value of `autocorrelation`."""
    return _of_binomials(counts[:, :-1], counts[:, -1:])


def serial_correlation(words: np.ndarray) -> np.ndarray:
    """Knuth's K: products of neighbours, and how many; of the words and of their reversed bytes."""
    sums = []
    for view in (words, words.byteswap()):
        centred = view / 2**32 - 0.5
        sums += [float(centred[lag:] @ centred[:-lag]) for lag in (1, 2, 3)]
    return np.array([*sums, len(words)])


def judge_serial_correlation(counts: np.ndarray) -> float:
    """The p-value of `serial_correlation`."""
    return _of_scores(counts[:-1] * 12 / math.sqrt(counts[-1]))


def serial(words: np.ndarray) -> np.ndarray:
    """Knuth's B: pairs of neighbours, by their highest byte and by their lowest."""
    high, low = (words >> 24).astype(np.int64), (words & 255).astype(np.int64)
    return np.array([np.bincount(b[::2] * 256 + b[1::2], minlength=65536) for b in (high, low)])


def judge_serial(counts: np.ndarray) -> float:
    """The p-value of `serial`."""
    return _of_cells(counts, np.full(65536, 1 / 65536))


def gap(words: np.ndarray) -> np.ndarray:
    """Knuth's D: how many words are kept between two that are dropped at rate 0.1."""
    dropped = np.flatnonzero(words < np.uint32(_RATE * 2**32))
    return np.bincount(np.minimum(np.diff(dropped) - 1, _GAPS), minlength=_GAPS + 1)


def judge_gap(counts: np.ndarray) -> float:
    """The p-value of `gap`."""
    rate = math.floor(_RATE * 2**32) / 2**32
    shares = rate * (1 - rate) ** np.arange(_GAPS)
    return _of_cells(counts, np.append(shares, 1 - shares.sum()))


def birthdays(words: np.ndarray) -> np.ndarray:
    """Marsaglia's birthday spacings; of the words, and with their bytes reversed."""
    found = []
    for view in (words, words.byteswap()):
        days = np.sort(view[: len(view) // _BIRTHDAYS * _BIRTHDAYS].reshape(-1, _BIRTHDAYS))
        spacings = np.sort(np.diff(days), axis=1)
        equal = np.count_nonzero(np.diff(spacings) == 0, axis=1)
        found.append(np.bincount(np.minimum(equal, _EQUAL), minlength=_EQUAL + 1))
    return np.array(found)


def judge_birthdays(counts: np.ndarray) -> float:
    """The p-value of `birthdays`."""
    shares = stats.poisson.pmf(np.arange(_EQUAL), _BIRTHDAYS**3 / 2**34)
    return _of_cells(counts, np.append(shares, 1 - shares.sum()))


def rank(words: np.ndarray) -> np.ndarray:
    """Ranks over GF(2) of matrices of 32 by 32 bits: 32, 31, 30, less."""
    rows = words[: len(words) // 1024 * 32].reshape(-1, 32).T.copy()  # a part: it takes long
    ranks = np.zeros(rows.shape[1], int)
    index = np.arange(rows.shape[1])
    for bit in range(32):
        has = (rows >> np.uint32(bit) & 1).astype(bool)
        found = has.any(axis=0)
        first = has.argmax(axis=0)
        pivot = np.where(found, rows[first, index], 0).astype(np.uint32)
        rows[first, index] = np.where(found, 0, rows[first, index])
        rows ^= np.where(has, pivot, np.uint32(0)) * (rows != 0)
        ranks += found
    return np.bincount(np.maximum(ranks, 29), minlength=33)[29:]


def judge_rank(counts: np.ndarray) -> float:
    """The p-value of `rank`."""
    shares = [_share_of_rank(each) for each in (30, 31, 32)]
    return _of_cells(counts, np.array([1 - sum(shares), *shares]))


def _share_of_rank(of: int, size: int = 32) -> float:
    logarithm = of * (2 * size - of) - size * size
    for i in range(of):
        logarithm += 2 * math.log2(1 - 2.0 ** (i - size)) - math.log2(1 - 2.0 ** (i - of))
    return 2.0**logarithm


def maximum(words: np.ndarray) -> np.ndarray:
    """Knuth's T: the largest of eight words, as a fraction to the eighth power, is uniform."""
    largest = words[: len(words) // _OF * _OF].reshape(-1, _OF).max(axis=1)
    cells = ((largest.astype(float) + 1) / 2**32) ** _OF * _CELLS
    return np.bincount(np.minimum(cells.astype(int), _CELLS - 1), minlength=_CELLS)


def judge_maximum(counts: np.ndarray) -> float:
    """The p-value of `maximum`."""
    return _of_cells(counts, np.full(_CELLS, 1 / _CELLS))


def permutations(words: np.ndarray) -> np.ndarray:
    """Knuth's P: in which order four words come."""
    four = words[: len(words) // 4 * 4].reshape(-1, 4)
    code = np.zeros(len(four), int)
    for i in range(3):
        code = code * (4 - i) + np.count_nonzero(four[:, i + 1 :] < four[:, i : i + 1], axis=1)
    return np.bincount(code, minlength=24)


def judge_permutations(counts: np.ndarray) -> float:
    """The p-value of `permutations`."""
    return _of_cells(counts, np.full(24, 1 / 24))


def weights(words: np.ndarray) -> np.ndarray:
    """Ones in four words on end: each has few, some or many."""
    ones = np.bitwise_count(words[: len(words) // 4 * 4])
    kinds = np.digitize(ones, (15, 18)).reshape(-1, 4)
    return np.bincount(kinds @ np.array([27, 9, 3, 1]), minlength=81)


def judge_weights(counts: np.ndarray) -> float:
    """The p-value of `weights`."""
    below = stats.binom.cdf((14, 17), 32, 0.5)
    share = np.array([below[0], below[1] - below[0], 1 - below[1]])
    both = np.multiply.outer(share, share).ravel()
    return _of_cells(counts, np.multiply.outer(both, both).ravel())


Count = Callable[[np.ndarray], np.ndarray]
Judge = Callable[[np.ndarray], float]
TESTS: dict[str, tuple[Count, Judge]] = {
    "frequency": (frequency, judge_frequency),
    "autocorrelation": (autocorrelation, judge_autocorrelation),
    "serial correlation": (serial_correlation, judge_serial_correlation),
    "serial": (serial, judge_serial),
    "gap": (gap, judge_gap),
    "birthday spacings": (birthdays, judge_birthdays),
    "matrix rank": (rank, judge_rank),
    "maximum of 8": (maximum, judge_maximum),
    "permutations": (permutations, judge_permutations),
    "weights": (weights, judge_weights),
}


@dataclasses.dataclass
class Battery:
    """What was counted in words.

    Attributes:
      words: how many.
      counts: of each test.
    """

    words: int = 0
    counts: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def add(self, words: np.ndarray) -> None:
        """Counts in a block.

        Args:
          words: uint32 `[n]`, in the order in which they are to look random; 2^20 or so.
        """
        counts = {name: count(words) for name, (count, _) in TESTS.items()}
        self.merge(Battery(len(words), counts))

    def merge(self, other: "Battery") -> None:
        """Adds what another one counted."""
        self.words += other.words
        for name, counts in other.counts.items():
            self.counts[name] = self.counts.get(name, 0) + counts

    def p_values(self) -> dict[str, float]:
        """Of each test: small where the words are too uneven, near 1 where they are too even."""
        return {name: judge(self.counts[name]) for name, (_, judge) in TESTS.items()}

    def alarms(self) -> dict[str, float]:
        """The p-values that perfect words do not give."""
        return {name: p for name, p in self.p_values().items() if not ALARM < p < 1 - ALARM}


def _of_scores(scores: np.ndarray) -> float:
    """The p-value of standard normal scores."""
    return float(stats.chi2.sf(np.sum(np.square(scores)), np.size(scores)))


def _of_binomials(ones: np.ndarray, trials: np.ndarray) -> float:
    return _of_scores((ones - trials / 2) / np.sqrt(trials / 4))


def _of_cells(counts: np.ndarray, shares: np.ndarray) -> float:
    """Of rows of cells: chi-square."""
    rows = np.atleast_2d(counts)
    expected = rows.sum(axis=1, keepdims=True) * shares
    freedom = len(rows) * (len(shares) - 1)
    return float(stats.chi2.sf(np.sum((rows - expected) ** 2 / expected), freedom))
