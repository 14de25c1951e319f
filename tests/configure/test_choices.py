import dataclasses

import pytest

from dsdenseunet.configure import choices
from tests.configure.fingerprints import CT, MR, a_fingerprint, a_region, a_task


def test_ct_gets_the_window_of_its_foreground():
    choice = choices.normalisation(a_fingerprint(task=a_task(channels=(CT,))))
    assert choice.settings == {"task.channels": (("CT", "window", -9.0, 148.0),)}
    assert "from -9 to 148" in choice.why
    # Labels whose voxels all have one value say nothing of a window.
    constant = a_fingerprint(task=a_task(channels=(CT,)), foreground=(40.0, 40.0))
    assert choices.normalisation(constant).settings == {"task.channels": (CT,)}


@pytest.mark.parametrize(
    ("zero_share", "kind"), [(0.0, "zscore"), (0.24, "zscore"), (0.25, "zscore_foreground")]
)
def test_mr_is_z_scored_and_what_was_cut_out_over_its_own_voxels(zero_share, kind):
    choice = choices.normalisation(a_fingerprint(zero_share=zero_share))
    assert choice.settings == {"task.channels": (("MRI", kind),)}


def test_each_channel_is_chosen_by_itself():
    choice = choices.normalisation(a_fingerprint(task=a_task(channels=(MR, CT, ("PET", "none")))))
    assert [channel[1] for channel in choice.settings["task.channels"]] == ["zscore", "window", "none"]
    assert "PET: as its dataset.json asks" in choice.why


def test_folds_are_stratified_by_the_region_that_divides_the_cases_best():
    has, none = a_region(), None
    found = a_fingerprint(regions={"anterior": [has] * 5 + [none], "posterior": [has] * 2 + [none] * 4})
    choice = choices.strata(found)
    assert choice.settings == {"task.stratify_by": "posterior"}
    assert "2 of 6 cases" in choice.why
    assert choices.strata(a_fingerprint()).settings == {"task.stratify_by": ""}


def test_what_comes_in_pieces_is_detected_and_what_is_one_piece_is_cleaned_up():
    found = a_fingerprint(
        regions={"anterior": [a_region(2, 0.995)] + [a_region()] * 5, "posterior": [a_region(3, 0.6)] * 6}
    )
    lesions = choices.lesions(found)
    assert lesions.settings == {"task.detect": ("posterior",)}
    cleaned = choices.clean_up(found, lesions.settings["task.detect"])
    assert cleaned.settings == {"task.clean_up": (("largest", "anterior"),)}
    assert "99.5 % of anterior" in cleaned.why


def test_four_cases_tell_nothing_of_clean_up():
    found = a_fingerprint(names=[f"toy_{n}" for n in range(4)])
    assert choices.clean_up(found, ()).settings == {"task.clean_up": ()}


def test_folds_hold_patients_together():
    choice, of_patients = choices.folds(a_fingerprint(), "folds.json")
    assert (choice.settings, of_patients) == ({"data.folds": 5}, {})
    names = ["p1_a", "p1_b", "p2_a", "p3_a", "p3_b", "p3_c"]
    choice, of_patients = choices.folds(a_fingerprint(names=names), "folds.json")
    assert choice.settings == {"data.folds": 3, "data.fold_file": "folds.json"}
    assert of_patients["p1_b"] == "p1"
    assert choices.folds(a_fingerprint(names=["a", "b"]), "")[0].settings == {"data.folds": 2}


def test_folds_hold_the_scans_of_a_patient_id_together_whatever_they_are_called():
    ids = {"a": "7", "b": "8", "c": "7", "p1_a": "9"}
    names = [*ids, "p1_b", "p1_c", "p2_a"]
    choice, of_patients = choices.folds(a_fingerprint(names=names, ids=ids), "folds.json")
    assert choice.settings == {"data.folds": 5, "data.fold_file": "folds.json"}
    assert of_patients == {
        "a": "a", "b": "b", "c": "a", "p1_a": "p1_a", "p1_b": "p1", "p1_c": "p1", "p2_a": "p2"
    }  # fmt: skip
    assert "By the PatientID of their DICOM files and their names the 7 cases" in choice.why
    # A word that stands in all files says nothing; other words in each say that no patient has two.
    for each, settings, why in (
        (["none"] * 2, {"data.folds": 2}, "Neither DICOM nor"),
        (["7", "8"], {"data.folds": 2}, "By its PatientID each"),
    ):
        choice, _ = choices.folds(a_fingerprint(names=["a", "b"], ids=dict(zip("ab", each))), "")
        assert choice.settings == settings and why in choice.why


def test_patches_are_drawn_to_classes_unless_they_hold_nearly_all():
    whole = choices.sampling(a_fingerprint(), (32, 48, 32))
    assert whole.settings == {"data.centre_share": (1.0, 0.0, 0.0)}
    part = choices.sampling(a_fingerprint((100, 100, 100)), (32, 32, 32))
    assert part.settings == {"data.centre_share": (0.5, 0.25, 0.25)}
    # Shares that cannot be written in four digits still sum to 1.
    four = a_fingerprint((100, 100, 100), task=a_task(("background", "a", "b", "c")))
    shares = choices.sampling(four, (32, 32, 32)).settings["data.centre_share"]
    assert sum(shares) == pytest.approx(1, abs=1e-9)
    assert shares[1:] == (0.1666, 0.1666, 0.1666)


@pytest.mark.parametrize(
    ("classes", "axes"),
    [
        (("background", "liver", "shelf"), (0.5, 0.5, 0.5)),
        (("background", "left_kidney", "right_kidney"), (0.5, 0.5, 0.0)),
        (("background", "lung-l", "other"), (0.5, 0.5, 0.0)),
    ],
)
def test_classes_that_have_sides_are_not_mirrored_across(classes, axes):
    assert choices.mirrored_axes(a_fingerprint(task=a_task(classes)))[0] == axes


def test_what_a_patch_shows_is_said_in_mm():
    text = choices.field_of_view(a_fingerprint((64, 64, 64), (2.0, 1.0, 1.5)), (32, 64, 128))
    assert text.startswith(
        "32 x 64 x 128 voxels are 64 x 64 x 192 mm at the median spacing, 50 % of the median"
    )


def test_scans_of_one_spacing_keep_it():
    assert choices.spacing(a_fingerprint(spacing_mm=(3.0, 1.0, 1.0))).settings == {"task.spacing_mm": ()}


@pytest.mark.parametrize(
    ("slices", "target"),
    [
        # The median, though a case is far from it.
        ([2.0, 2.0, 2.0, 1.6, 2.0, 10.0], (2.0, 1.0, 1.0)),
        # Thick ones: the tenth percentile, half way from the first case to the second, but no finer than H.
        ([3.0, 4.0, 5.0, 5.0, 5.0, 5.0], (3.5, 1.0, 1.0)),
        ([0.5, 0.5, 5.0, 5.0, 5.0, 5.0], (1.0, 1.0, 1.0)),
    ],
)
def test_spacings_that_differ_become_one(slices, target):
    found = a_fingerprint((60, 50, 40))
    cases = [
        dataclasses.replace(case, spacing_mm=(side, 1.0, 1.0)) for case, side in zip(found.cases, slices)
    ]
    found = dataclasses.replace(found, cases=tuple(cases))
    choice = choices.spacing(found)
    assert choice.settings == {"task.spacing_mm": target}
    seen = found.resampled(choice.settings["task.spacing_mm"])
    assert seen.median_spacing_mm == target
    assert [case.shape for case in seen.cases] == [(round(60 * side / target[0]), 50, 40) for side in slices]
    assert found.resampled(()) is found
