import copy
import itertools
import json

import pytest

from configs import decathlon as configs
from dsdenseunet.core.errors import InputError
from dsdenseunet.tasks import decathlon, lits
from dsdenseunet.training.settings import check_config

DATASET = {
    "name": "Brain",
    "modality": {"0": "FLAIR", "1": "T1w"},
    "labels": {"0": "background", "1": "Whole Tumour", "2": "2nd core"},
    "numTraining": 2,
    "training": [
        {"image": f"./imagesTr/case_{n}.nii.gz", "label": f"./labelsTr/case_{n}.nii.gz"} for n in range(2)
    ],
}


def write(folder, **changes):
    values = copy.deepcopy(DATASET) | changes
    (folder / "dataset.json").write_text(json.dumps(values))
    for kind in ("imagesTr", "labelsTr"):
        (folder / kind).mkdir()
        for number in range(2):
            (folder / kind / f"case_{number}.nii.gz").touch()
        (folder / kind / "._case_0.nii.gz").touch()
    return folder


def test_a_task_from_its_own_dataset_json(tmp_path):
    task = decathlon.task_of(write(tmp_path))
    assert task.name == "Brain"
    assert task.classes == ("background", "whole_tumour", "label_2nd_core")
    assert [(region.name, region.labels) for region in task.regions] == [
        ("whole_tumour", (1,)),
        ("label_2nd_core", (2,)),
    ]
    assert [str(channel) for channel in task.channels] == ["FLAIR zscore", "T1w zscore"]
    assert task.select_by == ("whole_tumour", "label_2nd_core")
    # Beside the labels it is the same one.
    assert decathlon.task_of(tmp_path / "labelsTr") == task
    check_config(configs.get_config(str(tmp_path)))


def test_folders_of_dicom_series_and_segmentations_are_the_cases_that_it_lists(tmp_path):
    listed = [{"image": f"imagesTr/case_{n}", "label": f"labelsTr/case_{n}.dcm"} for n in range(2)]
    values = DATASET | {"training": listed, "file_ending": ".dcm"}
    (tmp_path / "dataset.json").write_text(json.dumps(values))
    (tmp_path / "labelsTr").mkdir()
    for number in range(2):
        (tmp_path / f"imagesTr/case_{number}").mkdir(parents=True)
        (tmp_path / f"labelsTr/case_{number}.dcm").touch()
    assert decathlon.read_task(tmp_path).name == "Brain"
    (tmp_path / "imagesTr/case_1").rmdir()
    with pytest.raises(InputError, match="not there: imagesTr/case_1"):
        decathlon.read_task(tmp_path)


def test_the_form_of_nnunet(tmp_path):
    write(tmp_path, modality=None, channel_names={"0": "CT"}, labels={"background": 0, "spleen": 1})
    values = json.loads((tmp_path / "dataset.json").read_text())
    del values["modality"]
    (tmp_path / "dataset.json").write_text(json.dumps(values))
    task = decathlon.read_task(tmp_path)
    assert task.classes == ("background", "spleen")
    assert str(task.channels[0]) == "CT window -200 250"


REGIONS = {"background": 0, "whole tumour": [1, 2, 3], "core": [2, 3], "enhancing": 3}


def nnunets(folder, **changes):
    """The form of nnU-Net: no list of cases, a file for each channel."""
    values = {
        "channel_names": {"0": "T1", "1": "noNorm"},
        "labels": REGIONS,
        "regions_class_order": [1, 2, 3],
        "numTraining": 2,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(values | changes))
    for kind, numbers in (("imagesTr", ("_0000", "_0001")), ("labelsTr", ("",))):
        (folder / kind).mkdir()
        for case, number in itertools.product("ab", numbers):
            (folder / kind / f"{case}{number}.nii.gz").touch()
    return folder


def test_nnunets_regions_are_the_tasks(tmp_path):
    task = decathlon.task_of(nnunets(tmp_path))
    assert task.name == tmp_path.name
    assert task.classes == ("background", "whole_tumour", "core", "enhancing")
    assert [(region.name, region.labels) for region in task.regions] == [
        ("whole_tumour", (1, 2, 3)),
        ("core", (2, 3)),
        ("enhancing", (3,)),
    ]
    assert [str(channel) for channel in task.channels] == ["T1 zscore", "noNorm none"]
    check_config(configs.get_config(str(tmp_path)))


def test_a_label_that_is_no_region_of_its_own_has_its_number_as_name(tmp_path):
    labels = {"background": 0, "kidney": [1, 2], "cyst": 2, "ignore": 3}
    task = decathlon.task_of(nnunets(tmp_path, labels=labels, regions_class_order=None))
    assert task.classes == ("background", "label_1", "cyst")
    assert [region.name for region in task.regions] == ["kidney", "cyst"]
    assert task.ignore_label == 3


def test_nnunets_ignore_label_is_no_class(tmp_path):
    task = decathlon.task_of(nnunets(tmp_path, labels={"background": 0, "spleen": 1, "ignore": 2}))
    assert task.classes == ("background", "spleen")
    assert task.ignore_label == 2


def test_the_number_of_cases_must_be_that_of_the_label_files(tmp_path):
    with pytest.raises(InputError, match="numTraining 3, and 2 files in labelsTr"):
        decathlon.task_of(nnunets(tmp_path, numTraining=3))


def test_a_list_may_name_scans_without_their_channels(tmp_path):
    """As the first version of nnU-Net did."""
    training = [{"image": f"imagesTr/{n}.nii.gz", "label": f"labelsTr/{n}.nii.gz"} for n in "ab"]
    assert len(decathlon.task_of(nnunets(tmp_path, training=training)).channels) == 2


@pytest.mark.parametrize("tumour", ["cancer", "tumour"])
def test_the_decathlons_liver_is_lits(tmp_path, tumour):
    labels = {"0": "background", "1": "liver", "2": tumour}
    assert decathlon.task_of(write(tmp_path, labels=labels, modality={"0": "CT"})) is lits.TASK


def test_without_the_file_it_is_lits(tmp_path):
    assert decathlon.task_of(tmp_path / "somewhere") is lits.TASK


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"numTraining": 3}, "numTraining 3, and 2 training cases"),
        ({"training": DATASET["training"][:1], "numTraining": 1}, "case_1.nii.gz"),
        (
            {"training": [*DATASET["training"], {"image": "imagesTr/x.nii.gz", "label": "labelsTr/x.nii.gz"}]}
            | {"numTraining": 3},
            "training files that are not there: imagesTr/x.nii.gz, labelsTr/x.nii.gz",
        ),
        ({"training": ["imagesTr/case_0.nii.gz"], "numTraining": 1}, "without image or label"),
        ({"labels": {"0": "background", "2": "core"}}, "labels with the numbers 0, 2"),
        ({"labels": {"background": 0, "whole": [1, 3]}}, "labels with the numbers 1, 3"),
        ({"labels": {"background": 0, "whole": [1, "2"]}}, "labels: "),
        ({"labels": {"whole": [1, 2]}}, "background None"),
        ({"labels": REGIONS, "regions_class_order": [1]}, "regions_class_order [1]"),
        ({"labels": REGIONS, "regions_class_order": [1, 1, 3]}, "regions_class_order with 1 for core"),
        ({"file_ending": ".mha"}, "file_ending '.mha'"),
        ({"labels": {}}, "labels: {}"),
        ({"modality": {"1": "CT"}}, "modality with the numbers 1"),
        ({"modality": None}, "modality: None"),
        ({"labels": {"0": "background", "1": "Core", "2": "core"}}, "a name twice"),
    ],
)
def test_what_contradicts_itself_or_its_files_is_one_message(tmp_path, changes, found):
    with pytest.raises(InputError) as error:
        decathlon.task_of(write(tmp_path, **changes))
    assert error.value.where == str(tmp_path / "dataset.json")
    assert found in error.value.found


def test_a_variant_that_is_no_folder_names_what_there_is(tmp_path):
    with pytest.raises(ValueError, match="Task04_Hippocampus, or the folder"):
        configs.get_config(str(tmp_path / "nowhere"))
