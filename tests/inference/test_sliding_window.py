import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dsdenseunet.inference import sliding_window
from dsdenseunet.inference.sliding_window import LEAST_WEIGHT, Tiling, blend, gaussian_weight, patch_starts


def scaling(fill=0.0):
    """Values as they are, `fill` outside."""
    return np.array([[0, 1, -1e30, 1e30, fill]], np.float32)


def blended(image, tiling, network, fill=0.0, **options):
    """`blend` of an image of one channel by a network that takes (B, D, H, W)."""
    image = image if image.ndim == 4 else image[..., None]
    pieces = blend(image, tiling, lambda patches: network(patches[..., 0]), scaling(fill), **options)
    return ((piece.first, piece.values[piece.keep]) for piece in pieces)


def run(image, tiling, network, **options):
    pieces = list(blended(image, tiling, network, **options))
    firsts = [first for first, _ in pieces]
    lengths = [len(piece) for _, piece in pieces]
    assert firsts == list(np.cumsum([0, *lengths[:-1]]))
    return np.concatenate([np.asarray(piece) for _, piece in pieces])


def volume(shape, seed=0):
    return np.random.default_rng(seed).integers(-1000, 1000, shape).astype(np.int16)


@jax.jit
def pointwise(patches_BDHW):
    """A network whose receptive field is one voxel: two channels that identify the value."""
    value = patches_BDHW.astype(jnp.float32)
    return jnp.stack([value, value**2 / 1000], axis=-1)


@jax.jit
def mean_of_27(patches_BDHW):
    """A network whose receptive field is 3^3 and that sees zeros outside of its patch."""
    value = patches_BDHW.astype(jnp.float32)[..., None]
    kernel = jnp.full((3, 3, 3, 1, 1), 1 / 27)
    return jax.lax.conv_general_dilated(
        value, kernel, (1, 1, 1), "SAME", dimension_numbers=("NDHWC", "DHWIO", "NDHWC")
    )


@pytest.mark.parametrize(
    ("size", "patch", "overlap", "expected"),
    [
        (12, 12, 0.5, (0,)),
        (13, 12, 0.5, (0, 1)),
        (18, 12, 0.5, (0, 6)),
        (30, 12, 0.5, (0, 6, 12, 18)),
        (31, 12, 0.5, (0, 5, 10, 14, 19)),
        (24, 12, 0.0, (0, 12)),
        (512, 224, 0.5, (0, 96, 192, 288)),
        # In floats 10 x (1 - 0.8) is less than 2.
        (30, 10, 0.8, tuple(range(0, 21, 2))),
        # No patch twice, however large the overlap.
        (14, 4, 0.9999999, tuple(range(11))),
    ],
)
def test_starts_by_hand(size, patch, overlap, expected):
    assert patch_starts(size, patch, overlap) == expected


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 64), st.floats(0, 1, exclude_max=True))
def test_starts_cover_without_gaps_and_at_the_asked_overlap(extra, patch, overlap):
    size = patch + extra - 1
    starts = patch_starts(size, patch, overlap)
    steps = np.diff(starts)
    assert starts[0] == 0
    assert starts[-1] + patch == size
    assert np.all(steps >= 1)
    # Evenly spread: a step is the mean step, rounded up or down.
    assert np.all(steps <= np.ceil(patch * (1 - overlap)))
    assert len(steps) == 0 or np.ptp(steps) <= 1


def test_gaussian_weight_is_symmetric_with_the_asked_width():
    weight = gaussian_weight(16, 0.125)
    np.testing.assert_array_equal(weight, weight[::-1])
    np.testing.assert_allclose(weight[8 + 2] / weight[7], np.exp(-(2.5**2 - 0.5**2) / 2 / 2**2), rtol=1e-6)
    assert weight.min() > 0


# Every positive float, as many of each magnitude: also those that underflow or overflow on their way.
SIGMA_SCALES = st.floats(min_value=0, exclude_min=True, allow_infinity=False) | st.floats(1e-3, 1)


@settings(deadline=None)
@given(st.integers(1, 512), SIGMA_SCALES)
def test_weights_are_positive_numbers_whatever_their_width(size, sigma_scale):
    weight = gaussian_weight(size, sigma_scale)
    assert weight.dtype == np.float32
    assert np.all((weight >= LEAST_WEIGHT) & (weight <= 1))
    np.testing.assert_array_equal(weight, weight[::-1])
    assert np.all(np.diff(weight[: (size + 1) // 2]) >= 0)


def test_the_default_weight_is_not_clipped():
    assert gaussian_weight(512, 0.125).min() > 100 * LEAST_WEIGHT


@pytest.mark.parametrize("shape", [(4, 8, 8), (11, 20, 13), (3, 5, 30), (2, 3, 4)])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_tiled_equals_untiled_on_a_pointwise_network(shape, batch_size):
    image = volume(shape)
    tiling = Tiling.of(shape, (4, 8, 8), overlap=0.5, sigma_scale=0.125)
    tiled = run(image, tiling, pointwise, batch_size=batch_size)
    np.testing.assert_allclose(tiled, pointwise(image[None])[0], rtol=2e-6, atol=2e-4)


def test_tiled_equals_untiled_on_a_small_receptive_field():
    """A patch's outermost voxels lack a neighbour; there its weight is the Gaussian's tail.

    In the worst place a patch's edge meets its neighbour 3.5 voxels off that one's centre: a weight ratio of
    exp(-0.5 (7.5^2 - 3.5^2) / 2^2) = 0.4% an axis, of a lacking value of at most some 150.
    """
    shape, patch = (32, 48, 48), (16, 16, 16)
    image = volume(shape)
    untiled = np.asarray(mean_of_27(image[None])[0])
    smooth = run(image, Tiling.of(shape, patch, overlap=0.75, sigma_scale=0.125), mean_of_27, batch_size=3)
    hard = run(image, Tiling.of(shape, patch, overlap=0.0, sigma_scale=0.125), mean_of_27)
    np.testing.assert_allclose(smooth, untiled, atol=2)
    assert np.median(np.abs(smooth - untiled)) < 0.05
    assert np.abs(hard - untiled).max() > 100


def test_weight_sums_are_what_the_patches_add_up_to():
    tiling = Tiling.of((9, 20, 13), (4, 8, 8), overlap=0.5, sigma_scale=0.125)
    added = np.zeros(tiling.padded)
    weight = tiling.weights[0][:, None, None] * tiling.weights[1][:, None] * tiling.weights[2]
    count = 0
    for z in tiling.starts[0]:
        for y in tiling.starts[1]:
            for x in tiling.starts[2]:
                added[z : z + 4, y : y + 8, x : x + 8] += weight
                count += 1
    depth, row, column = tiling.weight_sums()
    np.testing.assert_allclose(depth[:, None, None] * row[:, None] * column, added, rtol=1e-6)
    assert count == tiling.patches


@settings(deadline=None, max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 14), st.integers(1, 20), st.integers(1, 20)),
    patch=st.sampled_from([(4, 8, 8), (1, 1, 1), (12, 3, 6), (2, 5, 20)]),
    overlap=st.floats(0, 0.8) | st.floats(0.8, 1, exclude_max=True),
    sigma_scale=SIGMA_SCALES,
    batch_size=st.integers(1, 3),
)
@example(shape=(9, 20, 20), patch=(4, 8, 8), overlap=0.5, sigma_scale=0.05, batch_size=1)
@example(shape=(9, 20, 20), patch=(4, 8, 8), overlap=0.0, sigma_scale=0.01, batch_size=1)
@example(shape=(1, 1, 1), patch=(4, 8, 8), overlap=0.999, sigma_scale=0.01, batch_size=2)
def test_constant_logits_come_out_as_they_went_in(shape, patch, overlap, sigma_scale, batch_size):
    """Only true if every voxel's weights are divided by exactly their sum, which is never 0."""
    tiling = Tiling.of(shape, patch, overlap=overlap, sigma_scale=sigma_scale)
    probabilities = jax.nn.softmax(jnp.asarray([0.0, 1.0, -30.0]))
    result = run(
        np.zeros(shape, np.int16),
        tiling,
        lambda patches: jnp.broadcast_to(probabilities, (*patches.shape, 3)),
        batch_size=batch_size,
    )
    assert result.shape == (*shape, 3)
    np.testing.assert_allclose(result, np.broadcast_to(probabilities, result.shape), rtol=2e-5)


def test_weights_favour_the_patch_whose_centre_is_nearer():
    """Two patches that each say their own number: the blend follows the Gaussian, by hand."""
    tiling = Tiling.of((1, 1, 6), (1, 1, 4), overlap=0.5, sigma_scale=0.25)
    said = iter([1.0, 3.0])
    image = np.arange(6, dtype=np.int16)[None, None, :]
    result = run(image, tiling, lambda patch: jnp.full((*patch.shape, 1), next(said)))
    near, far = np.exp(-0.125), np.exp(-1.125)
    at_two = (1 * near + 3 * far) / (near + far)
    np.testing.assert_allclose(result.ravel(), [1, 1, at_two, 4 - at_two, 3, 3], rtol=1e-6)


def test_padding_surrounds_a_volume_smaller_than_a_patch():
    seen = []

    def network(patches):
        seen.append(np.asarray(patches))
        return jnp.ones((*patches.shape, 1))

    image = np.full((2, 3, 4), 7, np.int16)
    tiling = Tiling.of(image.shape, (4, 4, 4), overlap=0.5, sigma_scale=0.125)
    assert run(image, tiling, network, fill=-200).shape == (2, 3, 4, 1)
    (patch,) = seen
    assert patch.shape == (1, 4, 4, 4)
    np.testing.assert_array_equal(patch[0, 1:3, 0:3], 7)
    assert np.count_nonzero(patch == -200) == 64 - 24


def test_the_network_sees_one_shape_only_and_no_more_patches_than_planned():
    shapes = []

    def network(patches):
        shapes.append(patches.shape)
        return jnp.ones((*patches.shape, 1))

    tiling = Tiling.of((9, 20, 13), (4, 8, 8), overlap=0.5, sigma_scale=0.125)
    run(volume((9, 20, 13)), tiling, network, batch_size=4)
    assert set(shapes) == {(4, 4, 8, 8)}
    assert len(shapes) == len(tiling.starts[0]) * -(-len(tiling.starts[1]) * len(tiling.starts[2]) // 4)


def test_the_same_input_gives_the_same_bits():
    image = volume((9, 20, 13))
    tiling = Tiling.of(image.shape, (4, 8, 8), overlap=0.5, sigma_scale=0.125)
    np.testing.assert_array_equal(run(image, tiling, mean_of_27), run(image, tiling, mean_of_27))


@pytest.mark.parametrize("batch_size", [1, 2])
def test_patches_of_one_value_are_computed_once_and_change_no_bit(batch_size, monkeypatch):
    image = volume((9, 16, 16))
    # Outside a field of view, and a block of another value.
    image[:, :, 6:] = -1024
    image[5:, :, :] = 7
    tiling = Tiling.of(image.shape, (3, 4, 4), overlap=0.5, sigma_scale=0.125)
    seen = []

    def counted(patches_BDHW):
        seen.append(len(np.unique(patches_BDHW)))
        return mean_of_27(patches_BDHW)

    found = run(image, tiling, counted, batch_size=batch_size)
    once, several = seen.count(1), len(seen) - seen.count(1)
    seen.clear()
    monkeypatch.setattr(sliding_window, "_only_value", lambda *_: None)
    np.testing.assert_array_equal(found, run(image, tiling, counted, batch_size=batch_size))
    assert several == len(seen) - seen.count(1) > 0
    assert once < seen.count(1)


def test_volumes_of_many_sizes_share_their_programs():
    patch, programs = (4, 8, 8), (sliding_window._cut, sliding_window._add, sliding_window._advance)

    def compiled(*shapes):
        for shape in shapes:
            tiling = Tiling.of(shape, patch, overlap=0.5, sigma_scale=0.125)
            assert run(volume(shape), tiling, pointwise).shape == (*shape, 2)
        return [program._cache_size() for program in programs]

    first = compiled((9, 20, 13))
    assert compiled((5, 31, 32), (4, 8, 8), (13, 9, 30), (2, 3, 4)) == first


def test_device_memory_does_not_grow_with_the_number_of_slices():
    """Live arrays while the volume is walked through: as many at the end as at the beginning."""

    def live(depth):
        image = volume((depth, 16, 16))
        tiling = Tiling.of(image.shape, (4, 8, 8), overlap=0.5, sigma_scale=0.125)
        most = 0
        for _, piece in blended(image, tiling, mean_of_27):
            piece.block_until_ready()
            most = max(most, sum(array.nbytes for array in jax.live_arrays()))
        return most

    assert live(400) <= live(40) + 4096


def test_only_slabs_of_the_volume_are_read():
    class Watched:
        shape, ndim = (40, 16, 16, 1), 4

        def __init__(self):
            self.largest = 0

        def __getitem__(self, index):
            assert isinstance(index, slice)
            self.largest = max(self.largest, index.stop - index.start)
            return np.zeros((index.stop - index.start, 16, 16, 1), np.int16)

    watched = Watched()
    tiling = Tiling.of(watched.shape[:3], (4, 8, 8), overlap=0.5, sigma_scale=0.125)
    assert run(watched, tiling, pointwise).shape == (40, 16, 16, 2)
    assert watched.largest == 4
