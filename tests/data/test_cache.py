import dataclasses
import json
import pickle

import numpy as np
import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.cache import Cache
from dsdenseunet.data.manifest import MANIFEST
from dsdenseunet.data.splits import strata
from dsdenseunet.tasks.lits import TASK
from tests.data.cached import make_cache


class Trap:
    """Leaves a trace where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_no_cache(tmp_path):
    with pytest.raises(InputError, match="no such folder") as caught:
        Cache.open(tmp_path / "absent")
    assert "experiments.prepare" in caught.value.fix
    with pytest.raises(InputError, match="no prepared case"):
        Cache.open(tmp_path)


def test_names_and_strata(tmp_path):
    make_cache(tmp_path, cases=1)
    cache = make_cache(tmp_path / "more", cases=11, classes=(0, 1))
    assert cache.names[:3] == ("volume-0", "volume-1", "volume-2")
    assert cache.names[-1] == "volume-10"
    assert not any(strata(TASK, cache, cache.names).values())
    smaller = Cache.open(tmp_path / "cache")
    assert strata(TASK, smaller, smaller.names) == {"volume-0": True}
    assert strata(dataclasses.replace(TASK, stratify_by=""), smaller, smaller.names) == {"volume-0": False}


def test_an_unknown_case_is_named(tmp_path):
    cache = make_cache(tmp_path, cases=1)
    for call in (cache.case, cache.record, cache.verify):
        with pytest.raises(InputError, match="no case 'volume-9'"):
            call("volume-9")


def test_a_worker_gets_it_pickled(tmp_path):
    cache = make_cache(tmp_path, cases=1)
    copy = pickle.loads(pickle.dumps(cache))
    assert len(pickle.dumps(cache)) < 10_000
    np.testing.assert_array_equal(copy.case("volume-0").image_DHW, cache.case("volume-0").image_DHW)


@pytest.mark.parametrize("array", ["image", "labels", "counts"])
@pytest.mark.parametrize(
    "fault", ["gone", "empty", "header", "short", "long", "dtype", "shape", "fortran", "zip"]
)
def test_a_damaged_array_is_found_on_opening(tmp_path, array, fault):
    cache = make_cache(tmp_path, cases=1)
    path = cache.root / "volume-0" / f"{array}.npy"
    data, values = path.read_bytes(), np.load(path)
    if fault == "gone":
        path.unlink()
    elif fault in ("empty", "header", "short"):
        path.write_bytes(data[: {"empty": 0, "header": 50, "short": -1}[fault]])
    elif fault == "long":
        path.write_bytes(data + b"x")
    elif fault == "dtype":
        np.save(path, values.astype(np.float32))
    elif fault == "shape":
        np.save(path, values[:1])
    elif fault == "fortran":
        np.save(path, np.asfortranarray(values))
    elif fault == "zip":
        with path.open("wb") as stream:
            np.savez(stream, values)
    with pytest.raises(InputError) as caught:
        Cache.open(cache.root)
    assert caught.value.where == str(path)
    assert "experiments.prepare" in caught.value.fix


def test_a_pickled_array_is_never_loaded(tmp_path):
    cache = make_cache(tmp_path, cases=1)
    trace = tmp_path / "trace"
    path = cache.root / "volume-0" / "labels.npy"
    np.save(path, np.array([Trap(trace)], dtype=object), allow_pickle=True)
    with pytest.raises(InputError):
        Cache.open(cache.root)
    path.write_bytes(pickle.dumps(Trap(trace)))
    with pytest.raises(InputError):
        Cache.open(cache.root)
    assert not trace.exists()


def test_a_flipped_bit_is_found_by_its_hash(tmp_path):
    cache = make_cache(tmp_path, cases=2)
    path = cache.root / "volume-1" / "image.npy"
    data = bytearray(path.read_bytes())
    data[-100] ^= 4
    path.write_bytes(data)
    Cache.open(cache.root)  # Opening reads no voxel.
    cache.verify("volume-0")
    with pytest.raises(InputError, match="SHA-256"):
        cache.verify("volume-1")


def edit_manifest(cache, edit):
    path = cache.root / MANIFEST
    manifest = json.loads(path.read_text())
    edit(manifest)
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", ["../outside", "/etc", "..", "", ".hidden", "a/b", "a\n"])
def test_a_name_cannot_lead_out_of_the_cache(tmp_path, name):
    cache = make_cache(tmp_path, cases=1)
    edit_manifest(cache, lambda manifest: manifest["cases"][0].update(name=name))
    with pytest.raises(InputError, match="damaged manifest"):
        Cache.open(cache.root)


@pytest.mark.parametrize("field", ["name", "images", "shape", "spacing_mm", "label_counts", "sha256"])
def test_a_manifest_without_a_field_or_with_nonsense_in_it(tmp_path, field):
    cache = make_cache(tmp_path, cases=1)
    for edit in (lambda m: m["cases"][0].pop(field), lambda m: m["cases"][0].update({field: 7})):
        edit_manifest(cache, edit)
        with pytest.raises(InputError, match="damaged manifest"):
            Cache.open(cache.root)


def test_a_manifest_of_a_version_with_one_image_file(tmp_path):
    cache = make_cache(tmp_path, cases=1)

    def as_before(manifest):
        (manifest["cases"][0]["image"],) = manifest["cases"][0].pop("images")

    edit_manifest(cache, as_before)
    assert Cache.open(cache.root).records == cache.records


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format_version": 99, "cases": []}', "\x00"])
def test_what_is_no_manifest(tmp_path, text):
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(InputError, match=MANIFEST):
        Cache.open(tmp_path)
