"""Which prediction belongs to which reference, and which CT to which case."""

from pathlib import Path

import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.evaluation import pairing
from dsdenseunet.evaluation.pairing import FilePair
from tests.data.trees import touch


def find(root, predictions, references):
    for name in predictions:
        touch(root / "p" / name)
    for name in references:
        touch(root / "r" / name)
    found = pairing.find_pairs(root / "p", root / "r")
    return [
        (str(p.prediction.relative_to(root / "p")), p.reference.name) for p in found.used
    ], found.passed_over


@pytest.mark.parametrize(
    ("prediction", "reference"),
    [
        ("test-segmentation-3.nii", "segmentation-3.nii"),
        ("segmentation-3.nii", "test-segmentation-3.nii"),
        ("test-volume-3.nii", "liver_3.nii"),
        ("liver_3.nii", "test-segmentation-3.nii"),
    ],
)
def test_a_case_of_the_test_part_never_pairs_with_another_patients_number(tmp_path, prediction, reference):
    with pytest.raises(InputError, match="no prediction for 1 of 1 references") as caught:
        find(tmp_path, [prediction], [reference])
    assert "test part" in caught.value.found


def test_both_parts_beside_each_other_pair_each_with_its_own(tmp_path):
    names = ["segmentation-3.nii", "test-segmentation-3.nii"]
    pairs, others = find(tmp_path, ["volume-3.nii", "test-volume-3.nii"], names)
    assert pairs == [("volume-3.nii", names[0]), ("test-volume-3.nii", names[1])]
    assert others == ()


def test_the_decathlons_test_part_has_numbers_of_its_own(tmp_path):
    with pytest.raises(InputError, match="no prediction"):
        find(tmp_path, ["segmentation-3.nii"], ["labelsTs/liver_3.nii"])
    touch(tmp_path / "p/liver_3.nii")
    assert len(pairing.find_pairs(tmp_path / "p", tmp_path / "r").used) == 1


@pytest.mark.parametrize(
    ("prediction", "reference"),
    [
        ("case_0000.nii.gz", "case.nii"),
        ("case.nii", "case_0000.nii.gz"),
        ("liver_3_0000.nii", "segmentation-3.nii"),
    ],
)
def test_nnunets_suffix_does_not_part_what_belongs_together(tmp_path, prediction, reference):
    assert find(tmp_path, [prediction], [reference])[0] == [(prediction, reference)]


def test_the_very_name_wins_and_the_rest_is_named(tmp_path):
    pairs, others = find(
        tmp_path,
        ["segmentation-3.nii", "volume-3.nii", "case.nii", "case_0000.nii", "nobody.nii"],
        ["segmentation-3.nii", "case.nii", "case_0000.nii", "imagesTr/case.nii"],
    )
    assert pairs == [(name, name) for name in ("case.nii", "case_0000.nii", "segmentation-3.nii")]
    assert [(other.path.name, other.why) for other in others] == [
        ("case.nii", "an image among the references"),
        ("nobody.nii", "a prediction without a reference"),
        ("volume-3.nii", "a prediction without a reference"),
    ]


def test_two_files_for_cases_are_all_named_without_advice_to_delete(tmp_path):
    with pytest.raises(InputError, match="a second file for 2 cases") as caught:
        find(
            tmp_path,
            ["a/case.nii", "b/case.nii", "segmentation-1.nii"],
            ["case.nii", "reader1/segmentation-1.nii", "reader2/segmentation-01.nii"],
        )
    for name in ("a/case.nii", "b/case.nii", "reader1/segmentation-1.nii", "reader2/segmentation-01.nii"):
        assert name in caught.value.found
    assert "remove" not in caught.value.fix


def test_a_reference_is_never_its_own_prediction(tmp_path):
    touch(tmp_path / "run/labels/a.nii", tmp_path / "run/labels/b.nii", tmp_path / "run/a.nii")
    with pytest.raises(InputError, match=r"1 of 2 references: b; 2 files here are references themselves"):
        pairing.find_pairs(tmp_path / "run", tmp_path / "run/labels")
    (tmp_path / "run/b.nii").symlink_to("labels/b.nii")
    with pytest.raises(InputError, match="1 of 2 references: b"):
        pairing.find_pairs(tmp_path / "run", tmp_path / "run/labels")


def images(root, pairs, *names):
    for name in names:
        touch(root / name)
    found = pairing.find_images([FilePair(Path(r).stem, root, root / r) for r in pairs], root)
    return {name: str(path.relative_to(root)) for name, path in found.items()}


def test_images_lie_beside_their_labels_or_among_them(tmp_path):
    touch(tmp_path / "labelsTs" / "a.nii")
    assert pairing.images_of(tmp_path / "labelsTs") == tmp_path / "labelsTs"
    touch(tmp_path / "imagesTs" / "a_0000.nii")
    assert pairing.images_of(tmp_path / "labelsTs") == tmp_path / "imagesTs"
    assert pairing.images_of(tmp_path) == tmp_path
    pair = FilePair("a", tmp_path, tmp_path / "labelsTs" / "a.nii")
    assert list(pairing.find_images([pair], pairing.images_of(tmp_path / "labelsTs"))) == ["a"]


def test_the_picture_is_of_the_same_patient(tmp_path):
    pairs = ["segmentation-4.nii", "test-segmentation-4.nii", "labelsTs/liver_4.nii", "labelsTr/nnu.nii"]
    assert images(tmp_path, pairs, "test-volume-4.nii", "imagesTr/nnu_0000.nii") == {
        "test-segmentation-4": "test-volume-4.nii",
        "nnu": "imagesTr/nnu_0000.nii",
    }
    assert images(tmp_path, pairs, "volume-4.nii")["segmentation-4"] == "volume-4.nii"
    # Of two that could be meant, one is another patient.
    assert "segmentation-4" not in images(tmp_path, pairs, "elsewhere/volume-4.nii")
