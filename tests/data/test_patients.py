import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.patients import (
    by_groups,
    check_apart,
    deal,
    folds_by_patient,
    identified,
    patients_of,
)
from dsdenseunet.data.splits import stratified_folds


@pytest.mark.parametrize(
    ("names", "patients"),
    [
        (
            ["patient001_frame01", "patient001_frame12", "patient002_frame01"],
            ["patient001"] * 2 + ["patient002"],
        ),
        (["sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1"], ["sub-01"] * 2 + ["sub-02"]),
        (["BraTS-GLI-00005-000", "BraTS-GLI-00005-001", "x9"], ["BraTS-GLI-00005"] * 2 + ["x9"]),
        (["7_a", "7_b", "8_a"], ["7", "7", "8"]),
    ],
)
def test_scans_of_one_patient_are_told_by_their_names(names, patients):
    assert patients_of(names) == dict(zip(names, patients))


@pytest.mark.parametrize(
    "names",
    [
        ["volume-0", "volume-1", "volume-10"],
        ["hippocampus_001", "hippocampus_002"],
        # The year of a study, or a site: one patient alone, or one with too many scans.
        ["BraTS2021_00001", "BraTS2021_00002"],
        [f"site{site}_{number:03d}" for site in (1, 2) for number in range(20)],
        ["patient001_frame01", "patient002_frame01"],
        ["only_1_2"],
    ],
)
def test_numbered_cases_are_patients_of_their_own(names):
    assert patients_of(names) == {}


def test_no_patient_is_on_both_sides_of_a_fold():
    patients = {
        f"p{patient}_{scan}": f"p{patient}" for patient in range(6) for scan in range(1 + patient % 3)
    }
    with_region = [name for name in patients if name.startswith(("p1", "p4"))]
    folds = folds_by_patient(patients, with_region, 3, seed=0)
    assert len(folds) == 3
    assert sorted(name for fold in folds for name in fold["val"]) == sorted(patients)
    for fold in folds:
        assert sorted(fold["train"] + fold["val"]) == sorted(patients)
        assert not {patients[name] for name in fold["train"]} & {patients[name] for name in fold["val"]}
    # The two patients with the region validate in two folds.
    assert sum(any(name in with_region for name in fold["val"]) for fold in folds) == 2
    with pytest.raises(InputError, match="2 folds"):
        folds_by_patient({"a1": "a", "a2": "a"}, [], 2, seed=0)


def test_a_patient_on_both_sides_is_refused_by_name():
    names = ["p1_a", "p1_b", "p2_a", "p2_b"]
    patients = patients_of(names)
    check_apart(names[:2], names[2:], patients, "here", "their names")
    with pytest.raises(InputError, match="scans of 2 patients on both sides") as refused:
        check_apart(names[::2], names[1::2], patients, "here", "their names")
    assert "p1_a trains and p1_b validates" in refused.value.found


def test_cases_of_one_patient_id_are_one_patient_unless_all_are():
    ids = {"a": "7", "b": "8", "c": "7", "d": ""}
    assert identified(ids) == {"a": "7", "b": "8", "c": "7"}
    assert identified({**ids, "b": "7"}) == identified({"d": ""}) == {}
    # What the config says and what DICOM says hold together: b is of the patient of d, and of that of e.
    patients = by_groups("abcde", [("b", "d")], {**identified(ids), "e": "8"})
    assert patients == {"a": "a", "c": "a", "b": "b", "d": "b", "e": "b"}
    with pytest.raises(InputError, match=r"a trains and c validates \(7\)"):
        check_apart(["a", "b"], ["c"], identified(ids), "folds.json, fold 1", "the PatientID")


def test_cases_that_are_named_together_validate_together():
    names = [f"volume-{number}" for number in range(9)]
    groups = (("volume-7", "volume-2", "volume-5"), ("volume-0", "not-here"))
    patients = by_groups(names, groups)
    assert patients["volume-2"] == patients["volume-5"] == "volume-7"
    assert len(set(patients.values())) == 7
    folds = deal(patients, names[:4], 3, seed=0)
    assert sorted(name for fold in folds for name in fold) == names
    assert sum({"volume-7", "volume-2", "volume-5"} <= set(fold) for fold in folds) == 1
    assert [len(fold) for fold in folds] == [3, 3, 3]
    # Without groups every case is dealt by itself.
    has_region = {name: name in names[:4] for name in names}
    assert deal(by_groups(names, ()), names[:4], 3, seed=0) == stratified_folds(has_region, 3, seed=0)
