"""The words: equal to an independent implementation, and random by many small tests.

Each statistical test is a z-score that passes below 5. There are about 2,000 of them in this file,
each with a tail of 5.7e-7: a perfect generator would fail somewhere with probability 0.001. All
seeds are fixed, so the outcome never changes from run to run.
"""

import zlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from flaxdrop import hashing
from flaxdrop.models.preresnet import BASIC_SLOTS, BOTTLENECK_SLOTS, HEAD_SLOTS

pytestmark = pytest.mark.optimised

LIMIT = 5.0
FULL = 1 << 32


def reference_mix(word, between=0):
    word ^= word >> 17
    word = word * 0xED5AD4BB % FULL
    word ^= word >> 11
    word = word * 0xAC4C1B51 % FULL
    word ^= (word >> 15) ^ between
    word = word * 0x31848BAB % FULL
    return word ^ (word >> 14)


def unmix(word, between=0):
    word ^= (word >> 14) ^ (word >> 28)
    word = word * pow(0x31848BAB, -1, FULL) % FULL ^ between
    word ^= (word >> 15) ^ (word >> 30)
    word = word * pow(0xAC4C1B51, -1, FULL) % FULL
    word ^= (word >> 11) ^ (word >> 22)
    word = word * pow(0xED5AD4BB, -1, FULL) % FULL
    return word ^ (word >> 17)


def reference_bits(first, second, count):
    first = reference_mix(first ^ reference_mix((second + 0x9E3779B9) % FULL))
    second = reference_mix((second + first) % FULL)
    return [reference_mix(i ^ first, second) for i in range(count)]


def words(first, second):
    return jnp.array([first, second], jnp.uint32)


@pytest.mark.parametrize("shape", [(), (1,), (257,), (3, 5, 7), (2, 3, 4, 5)])
@pytest.mark.parametrize("pair", [(0, 0), (0, 1), (0xDEADBEEF, 0x12345678), (FULL - 1, FULL - 1)])
def test_bits_equal_an_independent_implementation(shape, pair):
    expected = np.array(reference_bits(*pair, int(np.prod(shape))), np.uint32).reshape(shape)
    got = hashing.bits(words(*pair), shape)
    assert got.dtype == jnp.uint32
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(jax.jit(hashing.bits, static_argnums=1)(words(*pair), shape), got)


def test_golden_words_never_change():
    golden = [0x7A4E3FC0, 0x5FF3A32F, 0x91384358, 0x27BC2E85]
    assert hashing.bits(words(0, 0), (4,)).tolist() == golden
    assert hashing.fold_in(words(1, 2), 3).tolist() == [0xDF00DB40, 0xD1588E03]
    assert hashing.name_word("stage1_first", "p6") == 0x703C184D


@pytest.mark.parametrize("between", [0, 0xDEADBEEF])
def test_mix_is_one_to_one(between):
    x = np.random.RandomState(0).randint(0, FULL, 10_000, np.uint64).tolist() + [0, 1, FULL - 1]
    mixed = hashing.mix(jnp.array(x, jnp.uint32), jnp.uint32(between)).tolist()
    assert [unmix(word, between) for word in mixed] == x


def test_a_word_depends_on_its_row_major_index_only():
    flat = hashing.bits(words(7, 8), (24,))
    np.testing.assert_array_equal(hashing.bits(words(7, 8), (2, 3, 4)).ravel(), flat)
    np.testing.assert_array_equal(hashing.bits(words(7, 8), (6,)), flat[:6])


def test_typed_and_legacy_keys_give_the_same_words():
    for seed in (0, 1, 12345):
        typed = hashing.key_to_words(jax.random.key(seed))
        chex.assert_trees_all_equal(typed, hashing.key_to_words(jax.random.PRNGKey(seed)))
        chex.assert_shape(typed, (2,))


def test_every_word_of_a_longer_key_counts():
    key = np.array([1, 2, 3, 4], np.uint32)
    whole = hashing.key_to_words(jnp.array(key)).tolist()
    first = reference_mix(1 + 0x9E3779B9) ^ 3
    assert whole == [first, reference_mix(2 + 0x9E3779B9) ^ 4]
    for i in range(4):
        other = key.copy()
        other[i] ^= 1
        assert hashing.key_to_words(jnp.array(other)).tolist() != whole
    chex.assert_shape(hashing.key_to_words(jax.random.key(0, impl="rbg")), (2,))


@pytest.mark.parametrize(
    "key", [jax.random.split(jax.random.key(0)), jnp.zeros(2, jnp.int32), jnp.uint32(1)]
)
def test_what_is_not_one_key_is_refused(key):
    with pytest.raises(ValueError, match=r"^key: expected one PRNG key, got .*$"):
        hashing.key_to_words(key)


def test_fold_in_equals_an_independent_implementation_and_takes_traced_numbers():
    for first, second, data in [(0, 0, 0), (1, 2, 3), (FULL - 1, 5, FULL - 1)]:
        one = reference_mix(first ^ reference_mix((data + 0x9E3779B9) % FULL))
        expected = [one, reference_mix((second + one) % FULL)]
        assert hashing.fold_in(words(first, second), data).tolist() == expected
        traced = jax.jit(hashing.fold_in)(words(first, second), jnp.uint32(data))
        assert traced.tolist() == expected


def test_name_word_is_the_crc_of_the_path():
    assert hashing.name_word("123456789") == 0xCBF43926  # the check value of CRC-32
    assert hashing.name_word("stage1_first", "p6") == zlib.crc32(b"stage1_first/p6")


def test_the_names_of_all_slots_have_different_words():
    blocks = [f"stage{stage}_{part}" for stage in range(1, 6) for part in ("first", "rest")]
    slot_names = {f"{slot}_dropout" for slot in (*BASIC_SLOTS, *BOTTLENECK_SLOTS)}
    paths = [(block, slot) for block in blocks for slot in slot_names]
    paths += [(f"{slot}_dropout",) for slot in HEAD_SLOTS]
    assert len({hashing.name_word(*path) for path in paths}) == len(paths)


# Quality.


def z_fair(bits):
    """How far each of the 32 bits is from fair, over all words: [32]."""
    ones = np.array([np.count_nonzero(bits & np.uint32(1 << bit)) for bit in range(32)])
    return (ones - bits.size / 2) / np.sqrt(bits.size / 4)


def z_chi_square(counts):
    """A chi-square test against equal probabilities, as a z-score."""
    tail = scipy.stats.chisquare(counts).pvalue
    return scipy.stats.norm.isf(np.clip(tail, 1e-300, 1 - 1e-16))


def stack(all_words, count=4096):
    return np.stack([np.asarray(hashing.bits(each, (count,))) for each in all_words])


def keep_rates():
    rates = np.array([0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999])
    scores = []
    for seed in range(8):
        bits = np.asarray(hashing.bits(hashing.key_to_words(jax.random.key(seed)), (1 << 16,)))
        dropped = np.array([np.mean(bits < rate * FULL) for rate in rates])
        scores.append((dropped - rates) / np.sqrt(rates * (1 - rates) / bits.size))
    return np.concatenate(scores)


def fair_bits():
    return z_fair(np.asarray(hashing.bits(words(0, 3), (1 << 17,))))


def even_bytes():
    bits = np.asarray(hashing.bits(words(0, 4), (1 << 16,)))
    # The last: eight neighbours' decisions at rate 1/2 make a byte.
    pattern = np.packbits((bits >> 31).astype(np.uint8))
    return np.array(
        [
            z_chi_square(np.bincount(each, minlength=256))
            for each in (*((bits >> shift) & 255 for shift in (0, 8, 16, 24)), pattern)
        ]
    )


def neighbours():
    """Both words of a pair along each axis, bit by bit."""
    bits = np.asarray(hashing.bits(words(0, 5), (16, 16, 16, 16)))
    pairs = [bits.take(range(1, 16), axis) ^ bits.take(range(15), axis) for axis in range(4)]
    return np.concatenate([z_fair(pair) for pair in pairs])


def neighbours_at_low_rate():
    """Two neighbours that drop together at rate 0.1, along each axis."""
    drop = np.asarray(hashing.bits(words(0, 6), (16, 16, 16, 16))) < 0.1 * FULL
    both = [drop.take(range(1, 16), axis) & drop.take(range(15), axis) for axis in range(4)]
    return np.array([(np.mean(b) - 0.01) / np.sqrt(0.01 * 0.99 / b.size) for b in both])


def slots():
    key = hashing.key_to_words(jax.random.key(0))
    names = (*BASIC_SLOTS, *HEAD_SLOTS)
    masks = stack([hashing.fold_in(key, hashing.name_word(name)) for name in names]) >> 31
    pairs = [masks[i] ^ masks[j] for i in range(len(names)) for j in range(i)]
    return np.array([(pair.mean() - 0.5) * 2 * np.sqrt(pair.size) for pair in pairs])


def steps():
    key = hashing.key_to_words(jax.random.key(0))
    bits = stack([hashing.fold_in(key, step) for step in range(48)])
    return np.concatenate([z_fair(bits[1:] ^ bits[:-1]), z_fair(bits[2:] ^ bits[:-2])])


def seeds():
    bits = stack([hashing.key_to_words(jax.random.key(seed)) for seed in range(48)])
    return np.concatenate([z_fair(bits[1:] ^ bits[:-1]), z_fair(bits[2:] ^ bits[:-2])])


def together(pairs, count=1 << 16):
    """Units that two masks drop both, for each pair of words and two rates."""
    bits = [[np.asarray(hashing.bits(each, (count,))) for each in pair] for pair in pairs]
    scores = []
    for rate in (0.1, 0.5):
        both = np.array([np.mean((a < rate * FULL) & (b < rate * FULL)) for a, b in bits])
        scores.append((both - rate**2) / np.sqrt(rate**2 * (1 - rate**2) / count))
    return np.concatenate(scores)


def each_seed_and_the_next():
    return together([(words(0, seed), words(0, seed + 1)) for seed in range(200)])


def one_bit_of_a_key():
    key = np.array([0x243F6A88, 0x85A308D3], np.uint32)
    flips = np.concatenate(
        [
            np.eye(1, 2, word, dtype=np.uint32) << np.arange(32, dtype=np.uint32)[:, None]
            for word in (0, 1)
        ]
    )
    return together([(jnp.array(key), jnp.array(key ^ flip)) for flip in flips])


def avalanche():
    """Every output bit flips with probability 1/2 when one input bit does: 32 x 32."""
    x = np.random.RandomState(0).randint(0, FULL, 4096, np.uint64).astype(np.uint32)
    before = np.asarray(hashing.mix(jnp.array(x)))
    flipped = [hashing.mix(jnp.array(x ^ np.uint32(1 << bit))) for bit in range(32)]
    return np.concatenate([z_fair(before ^ np.asarray(after)) for after in flipped])


STATISTICS = [
    keep_rates,
    fair_bits,
    even_bytes,
    neighbours,
    neighbours_at_low_rate,
    slots,
    steps,
    seeds,
    each_seed_and_the_next,
    one_bit_of_a_key,
    avalanche,
]


@pytest.mark.parametrize("statistic", STATISTICS)
def test_words_look_random(statistic):
    assert np.max(np.abs(statistic())) < LIMIT


def linear(word, between=0):
    return (word ^ between) * jnp.uint32(1664525) + jnp.uint32(1013904223)


def shifts(word, between=0):
    word = word ^ (word >> 16) ^ between
    return word ^ (word << 13)


def one_round(word, between=0):
    word = (word ^ (word >> 16)) * jnp.uint32(0x7FEB352D)
    return word ^ (word >> 15) ^ between


def unmixed(words, _):
    return words


def unlinked(words, _):
    """What one word makes of the indices is then the same for all seeds below 2^32."""
    return jnp.stack([hashing.mix(words[0] + jnp.uint32(1)), hashing.mix(words[1])])


EVEN = [keep_rates, fair_bits]  # what counting up passes too, scrambled linearly
BAD = [("mix", lambda word, between=0: word ^ between, statistic) for statistic in STATISTICS]
BAD += [
    ("mix", mix, statistic)
    for mix in (linear, shifts)
    for statistic in STATISTICS
    if statistic not in EVEN
]
BAD += [("mix", one_round, seeds), ("mix", one_round, avalanche)]
BAD += [("_fold_in", of_key, each_seed_and_the_next) for of_key in (unmixed, unlinked)]


@pytest.fixture
def nothing_traced():
    """Functions are traced anew, with what was put into their place, and once more afterwards."""
    jax.clear_caches()
    yield
    jax.clear_caches()


@pytest.mark.usefixtures("nothing_traced")
@pytest.mark.parametrize(("part", "bad", "statistic"), BAD)
def test_statistics_refuse_a_bad_hash(part, bad, statistic, monkeypatch):
    monkeypatch.setattr(hashing, part, bad)
    assert np.max(np.abs(statistic())) > LIMIT
