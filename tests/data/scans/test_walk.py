"""One walk for all commands: every file that looks like a scan is used or named."""

import os
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.manifest import is_folder_name
from dsdenseunet.data.scans import layouts, walk
from dsdenseunet.evaluation import pairing
from dsdenseunet.inference.scans import find_scans
from tests.data.trees import ODD_STEMS, looks_like_a_scan, odd_tree, touch


def paths_of(found):
    """All paths that a search says something about."""
    used = []
    for one in found.used:
        fields = ("image", "labels", "prediction", "reference", "path")
        used += [getattr(one, field) for field in fields if getattr(one, field, None)]
    return used, [other.path for other in found.passed_over]


def finders(root, predictions):
    """What each command's search finds."""
    return {
        "prepare and doctor": lambda: layouts.find_cases(root),
        "predict": lambda: find_scans(root),
        "evaluate": lambda: pairing.find_pairs(predictions, root),
        "the walk": lambda: walk.walk(root),
    }


@pytest.mark.parametrize("command", ["prepare and doctor", "predict", "evaluate", "the walk"])
def test_every_command_uses_or_names_every_file_of_a_tree_of_odd_names(tmp_path, command):
    root, predictions = odd_tree(tmp_path)
    used, others = paths_of(finders(root, predictions)[command]())
    told = {os.path.realpath(path) for path in used + others} | {os.fspath(path) for path in used + others}
    there = {path for path in root.rglob("*") if looks_like_a_scan(path)}
    if command == "evaluate":
        there |= {path for path in predictions.rglob("*") if looks_like_a_scan(path)}
    assert len(there) > 50
    silent = {path for path in there if os.path.realpath(path) not in told and os.fspath(path) not in told}
    assert not silent
    # Nothing is both, and no file is there twice.
    assert not {os.path.realpath(path) for path in used} & {os.path.realpath(path) for path in others}
    assert len(used) == len(set(used))
    assert len(others) == len(set(others))


def test_a_tree_of_odd_names_gives_these_cases_and_scans(tmp_path):
    root, _ = odd_tree(tmp_path)
    cases = {case.name: case for case in layouts.find_cases(root).used}
    stems = {walk.volume_stem(f"{stem}.nii") for stem in ODD_STEMS}
    assert len(stems) == len(ODD_STEMS)
    assert all(stem.encode() for stem in stems)  # any text can hold them
    assert stems <= set(cases)
    assert all(cases[stem].labels for stem in stems)
    assert {"volume-0", "volume-007", "volume-8", "test-volume-0", "nnu_case", "upper"} <= set(cases)
    assert cases["volume-007"].labels.name == "segmentation-7.nii.gz"
    assert cases["nnu_case"].labels.name == "nnu_case.nii.gz"
    assert cases["volume-8"].image.is_symlink()
    scans = {scan.name for scan in find_scans(root).used}
    assert (
        stems - {"volume-12"}
        | {"segmentation-12", "patient x", "segmentation-0", "test-segmentation-0", "nnu_case", "upper"}
        <= scans
    )


def reasons(root):
    return {other.path.name: other.why for other in walk.walk(root).passed_over}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a.mha", "not read"),
        ("a.NRRD", "not read"),
        ("a.dcm", "not read"),
        ("a.hdr", "not read"),
        ("a.img.gz", "not read"),
        ("volume-1.nii.gz.part", "not read"),
        ("volume-1.nii (1).gz", "not read"),
        (".volume-1.nii", "hidden"),
        ("._volume-1.nii.gz", "hidden"),
        ("volume\n-1.nii", "control character"),
    ],
)
def test_what_looks_like_a_scan_is_named_with_its_reason(tmp_path, name, why):
    touch(tmp_path / name)
    assert why in reasons(tmp_path)[name]


@pytest.mark.parametrize("name", ["notes.txt", "volume-1.json", "dataset.json", "nii", "a.py"])
def test_other_files_are_nobodys_business(tmp_path, name):
    touch(tmp_path / name)
    assert not reasons(tmp_path)
    assert not walk.walk(tmp_path).used


def test_links_are_entered_once_and_those_that_lead_nowhere_are_named(tmp_path):
    store, root = tmp_path / "store", tmp_path / "root"
    touch(store / "volume-1.nii", store / "deep" / "volume-2.nii")
    root.mkdir()
    (root / "batch").symlink_to(store)
    (store / "loop").symlink_to(store)
    (store / "deep" / "up").symlink_to(store)
    (root / "gone").symlink_to(tmp_path / "unmounted")
    (root / "itself").symlink_to(root / "itself")
    (root / "volume-3.nii").symlink_to(tmp_path / "unmounted" / "volume-3.nii")
    (root / "copy").mkdir()
    (root / "copy" / "volume-1.nii").symlink_to(store / "volume-1.nii")
    found = layouts.find_cases(root)
    # A volume's own link is a case, which then fails alone.
    assert [case.name for case in found.used] == ["volume-1", "volume-2", "volume-3"]
    assert {other.path.name: other.why.split(" (")[0] for other in found.passed_over} == {
        "loop": "a link back to a folder that it lies in",
        "up": "a link back to a folder that it lies in",
        "gone": "a link that cannot be followed",
        "itself": "a link that cannot be followed",
    }


def test_the_name_of_a_link_counts(tmp_path):
    touch(tmp_path / "a_store" / "p1.nii", tmp_path / "b_store" / "p1.nii")
    (tmp_path / "imagesTr").symlink_to("a_store")
    (tmp_path / "labelsTr").symlink_to("b_store")
    found = layouts.find_cases(tmp_path)
    assert found.used == (layouts.Case("p1", (tmp_path / "imagesTr/p1.nii",), tmp_path / "labelsTr/p1.nii"),)
    assert found.passed_over == ()


def test_many_links_into_one_another_end(tmp_path):
    folders = [tmp_path / f"f{number}" for number in range(12)]
    for folder in folders:
        touch(folder / f"{folder.name}.nii")
    for folder in folders:
        for other in folders:
            (folder / f"to_{other.name}").symlink_to(other)
    files = {file.stem for file in walk.walk(tmp_path).used}
    assert files == {folder.name for folder in folders}


def test_what_is_no_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "volume-1.nii")
    (tmp_path / "volume-2.nii").mkdir()
    touch(tmp_path / "volume-2.nii" / "volume-2.nii")
    assert reasons(tmp_path) == {"volume-1.nii": "neither a file nor a folder"}
    assert [case.name for case in layouts.find_cases(tmp_path).used] == ["volume-2"]


def test_a_folder_whose_listing_fails_is_named(tmp_path, monkeypatch):
    touch(tmp_path / "volume-1.nii", tmp_path / "locked" / "volume-2.nii")
    scandir = os.scandir

    def refuse(folder):
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    assert reasons(tmp_path) == {"locked": "a folder that cannot be read (Permission denied)"}


def test_names_that_differ_in_how_accents_are_stored_are_one(tmp_path):
    composed, decomposed = "M\u00fcller", "Mu\u0308ller"
    touch(tmp_path / f"imagesTr/{decomposed}.nii", tmp_path / f"labelsTr/{composed}.nii")
    (case,) = layouts.find_cases(tmp_path).used
    assert case.name == composed
    assert case.labels
    touch(tmp_path / f"imagesTr/{composed}.nii")
    with pytest.raises(InputError, match="accents") as caught:
        layouts.find_cases(tmp_path)
    # Printed alike, the two would look like one file named twice.
    assert r"Mu\u0308ller" in caught.value.found
    assert r"M\xfcller" in caught.value.found


def test_what_predict_wrote_is_not_taken_for_data(tmp_path):
    touch(tmp_path / "volume-0.nii", tmp_path / "pred/segmentation-0.nii", tmp_path / "pred/a.nii")
    touch(tmp_path / "pred/.records/segmentation-0.json", tmp_path / "pred/.records/a.json")
    found = layouts.find_cases(tmp_path)
    assert [case.labels for case in found.used] == [None]
    assert "written by predict" in {o.path.name: o.why for o in found.passed_over}["segmentation-0.nii"]
    for own in (tmp_path / "pred", tmp_path / "pred/segmentation-0.nii"):
        with pytest.raises(InputError, match="written by predict"):
            find_scans(own)


def test_the_lines_count_and_name_what_was_passed_over():
    others = [walk.PassedOver(Path(f"d/{number}.mha"), "not read") for number in range(5)]
    lines = walk.describe([*others, walk.PassedOver(Path("d/.a.nii"), "hidden")])
    assert lines == [
        "passed over: 5 files, not read: d/0.mha, d/1.mha, d/2.mha and 2 more",
        "passed over: 1 file, hidden: d/.a.nii",
    ]
    assert walk.from_json(walk.to_json(others)) == others
    said = []
    walk.tell([], said.append)
    assert said == ["every file that looks like a scan is used"]


name_characters = st.characters(exclude_characters="/\0", codec=None, exclude_categories=())
names = st.one_of(
    st.text(name_characters, min_size=1, max_size=12),
    st.text(string.ascii_letters + "012 _-+.\u00c4\u0308\udcfc\u0663\u00b2", min_size=1, max_size=12),
    st.sampled_from(["volume-1", "segmentation-01", "test-volume-1", "x_0000", "x_0001", "manifest.json"]),
)


def storable(name):
    try:
        return len(os.fsencode(name)) < 200
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return False


@given(
    stems=st.lists(names.filter(storable), min_size=1, max_size=6, unique=True),
    endings=st.lists(st.sampled_from([".nii", ".nii.gz", ".NII.GZ", ".mha", ".txt"]), min_size=6, max_size=6),
    places=st.lists(st.sampled_from(["", "imagesTr", "labelsTr", "sub", ".h"]), min_size=6, max_size=6),
)
def test_any_name_is_used_or_told(tmp_path_factory, stems, endings, places):
    root = tmp_path_factory.mktemp("tree")
    for stem, ending, place in zip(stems, endings, places):
        touch(root / place / f"{stem}{ending}")
    there = {path for path in root.rglob("*") if looks_like_a_scan(path)}
    for finder in (layouts.find_cases, find_scans, walk.walk):
        try:
            used, others = paths_of(finder(root))
        except InputError as error:
            assert "no scan" in error.found or "second file" in error.found
            continue
        assert set(used) | set(others) == there
        assert not set(used) & set(others)
        for case in finder(root).used if finder is layouts.find_cases else ():
            assert is_folder_name(case.name) or case.name == "manifest.json"


@given(st.lists(st.text(max_size=6), max_size=6), st.randoms(use_true_random=False))
def test_any_names_have_one_natural_order(some, order):
    shuffled = list(some)
    order.shuffle(shuffled)
    assert sorted(some, key=layouts.natural_key) == sorted(shuffled, key=layouts.natural_key)
