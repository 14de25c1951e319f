import multiprocessing
import time

import grain
import numpy as np
import orbax.checkpoint as ocp
import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.patches import PatchSampler
from dsdenseunet.data.pipeline import make_training_iterator
from dsdenseunet.tasks.lits import TASK
from tests.data.cached import make_cache

FIELDS = {
    "patch_size": (4, 32, 32),
    "batch_size": 4,
    "channels": TASK.channels,
    "centre_share": (0.34, 0.33, 0.33),
    "scale_range": (0.8, 1.2),
    "scale_axes": "in_plane",
    "mirror_probability": (0.5, 0.5, 0.5),
    "seed": 3,
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return make_cache(tmp_path_factory.mktemp("cache"), cases=3)


@pytest.fixture
def stream(cache):
    """Makes iterators and closes them."""
    made = []

    def make(names=None, **fields):
        made.append(make_training_iterator(cache, names or cache.names, **(FIELDS | fields)))
        return made[-1]

    yield make
    for iterator in made:
        iterator.close()


def take(iterator, count):
    return [next(iterator) for _ in range(count)]


def assert_equal(batches, others):
    for batch, other in zip(batches, others, strict=True):
        assert set(batch) == set(other) == {"image", "labels", "case"}
        for key in batch:
            np.testing.assert_array_equal(batch[key], other[key])


def test_shapes_and_types(stream):
    batch = next(stream())
    assert batch["image"].shape == (4, 4, 32, 32, 1)
    assert batch["image"].dtype == np.float32
    assert np.abs(batch["image"]).max() <= 1
    assert batch["labels"].shape == (4, 4, 32, 32)
    assert batch["labels"].dtype == np.int32
    assert set(np.unique(batch["labels"])) <= {0, 1, 2}
    assert batch["case"].shape == (4,)
    assert batch["case"].dtype == np.int32


def test_boxes_for_a_device_are_voxels_of_the_same_draws(stream):
    boxes, patches = take(stream(augment_on_device=True), 3), take(stream(), 3)
    for box, patch in zip(boxes, patches):
        # 31 steps of a sample at a zoom of 0.8 span 38.75 voxels.
        assert box["image"].shape == (4, 4, 41, 41, 1)
        assert box["labels"].shape == (4, 4, 41, 41)
        assert (box["image"].dtype, box["labels"].dtype) == (np.int16, np.uint8)
        for name in ("below", "weight", "nearest"):
            assert box[name].shape == (4, 4 + 32 + 32)
        np.testing.assert_array_equal(box["case"], patch["case"])
        for row in range(4):
            d, h, w = np.split(box["nearest"][row], (4, 36))
            np.testing.assert_array_equal(box["labels"][row][np.ix_(d, h, w)], patch["labels"][row])


def test_boxes_are_resumed_and_read_by_workers(stream):
    reference = take(stream(augment_on_device=True), 4)
    after = stream(augment_on_device=True, workers=1)
    after.set_state({"next_batch": 2})
    for batch, other in zip(reference[2:], take(after, 2), strict=True):
        np.testing.assert_equal(batch, other)


def test_every_case_comes_up_once_before_any_comes_again(stream):
    order = np.concatenate([batch["case"] for batch in take(stream(batch_size=3), 20)]).reshape(-1, 3)
    assert (np.sort(order, axis=1) == [0, 1, 2]).all()
    assert len({tuple(row) for row in order}) > 1


@pytest.mark.parametrize(
    "fields", [{"threads": 1}, {"threads": 8, "prefetch": 1}, {"workers": 2, "threads": 1}]
)
def test_batches_depend_on_the_seed_alone(stream, fields):
    assert_equal(take(stream(), 5), take(stream(**fields), 5))


def test_another_seed_gives_other_batches(stream):
    first, other = next(stream()), next(stream(seed=4))
    assert not np.array_equal(first["image"], other["image"])


@pytest.mark.parametrize("workers", [(0, 0), (0, 2), (2, 0)])
def test_resuming_gives_the_next_batch_with_any_number_of_workers(stream, workers):
    reference = take(stream(), 8)
    before, after = (stream(workers=count) for count in workers)
    take(before, 5)
    state = before.get_state()
    assert state == {"next_batch": 5}
    after.set_state(state)
    assert_equal(reference[5:], take(after, 3))


def test_the_state_goes_through_orbax(stream, tmp_path):
    iterator = stream()
    take(iterator, 3)
    with ocp.CheckpointManager(tmp_path.absolute()) as manager:
        manager.save(3, args=ocp.args.Composite(data=grain.checkpoint.CheckpointSave(iterator)))
        manager.wait_until_finished()
        expected = take(iterator, 2)
        restored = stream(threads=1)
        manager.restore(3, args=ocp.args.Composite(data=grain.checkpoint.CheckpointRestore(restored)))
    assert_equal(expected, take(restored, 2))


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_the_global_batch(stream, count):
    whole = take(stream(), 4)
    parts = [take(stream(process_index=index, process_count=count), 4) for index in range(count)]
    for number, batch in enumerate(whole):
        for index in range(count):
            part = parts[index][number]
            for key in batch:
                size = 4 // count
                np.testing.assert_array_equal(part[key], batch[key][index * size : (index + 1) * size])


def test_no_more_is_read_ahead_than_asked_for(stream, monkeypatch):
    drawn = []
    sample = PatchSampler.sample
    monkeypatch.setattr(PatchSampler, "sample", lambda *args: drawn.append(1) or sample(*args))
    take(stream(threads=2, prefetch=3), 2)
    time.sleep(1)
    # Two taken, three in the buffer, and those that the threads hold while it is full.
    assert 2 * 4 <= len(drawn) <= (2 + 3 + 2) * 4


def test_small_volumes_and_zoom_in_3d(stream):
    batch = next(stream(patch_size=(16, 64, 64), scale_axes="all"))
    assert batch["image"].shape == (4, 16, 64, 64, 1)
    assert (batch["image"] == -1).any()


def test_a_fault_in_a_thread_or_a_worker_names_its_case(tmp_path):
    cache = make_cache(tmp_path, cases=1)
    (cache.root / "volume-0" / "image.npy").write_bytes(b"gone")
    for workers in (0, 1):
        iterator = make_training_iterator(cache, cache.names, **FIELDS, workers=workers)
        with pytest.raises(RuntimeError, match=r"volume-0: InputError: .*image\.npy"):
            next(iterator)
        iterator.close()


def test_a_worker_that_is_killed_ends_the_stream_and_names_the_cases(stream):
    iterator = stream(workers=1, prefetch=1)
    expected = take(stream(), 4)
    assert_equal(expected[:1], take(iterator, 1))
    for child in multiprocessing.active_children():
        child.kill()
    with pytest.raises(RuntimeError) as caught:
        take(iterator, 50)
    number = iterator.get_state()["next_batch"]
    assert number < 50
    # Grain adds notes of its own.
    assert caught.value.__notes__[-1].startswith(f"while reading batch {number}: volume-")


def test_the_note_names_the_cases_of_the_batch(stream, cache):
    iterator = stream(batch_size=4, process_index=1, process_count=2)
    named = [[cache.names[index] for index in batch["case"]] for batch in take(iterator, 5)]
    assert [iterator._case_names(number).split(", ") for number in range(5)] == named


def test_a_closed_iterator_is_closed(stream):
    iterator = stream()
    iterator.close()
    iterator.close()
    with pytest.raises(ValueError, match="closed"):
        next(iterator)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch_size", 0),
        ("centre_share", (0.5, 0.5, 0.5)),
        ("centre_share", (1.5, -0.5, 0.0)),
        ("scale_range", (1.2, 0.8)),
        ("scale_range", (0.0, 1.0)),
        ("scale_axes", "both"),
        ("patch_size", (4, 32)),
        ("patch_size", (4, 0, 32)),
        ("mirror_probability", (0.5, 0.5, 1.5)),
        ("mirror_probability", (0.5,)),
    ],
)
def test_values_out_of_range_are_refused(stream, field, value):
    with pytest.raises(InputError, match=f"config.data.{field}"):
        stream(**{field: value})


def test_other_refusals(stream, cache):
    with pytest.raises(InputError, match="no case 'absent'"):
        stream(names=["volume-0", "absent"])
    with pytest.raises(InputError, match="no case to train on"):
        make_training_iterator(cache, (), **FIELDS)
    with pytest.raises(InputError, match="multiple of the 3 processes"):
        stream(process_count=3)
