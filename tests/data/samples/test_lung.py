import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.samples.blob import Blob
from dsdenseunet.data.samples.lung import make_lung_phantom, write_lung_phantoms
from dsdenseunet.data.scans import nifti
from dsdenseunet.data.scans.layouts import find_cases
from dsdenseunet.tasks import decathlon
from dsdenseunet.tasks.channel import Channel
from dsdenseunet.tasks.task import Region

SMALL = (32, 48, 48)


def test_seed_and_index_fix_a_phantom():
    first, again, other = (make_lung_phantom(3, index, SMALL) for index in (1, 1, 2))
    for name in ("ct_DHW", "pet_DHW", "labels_DHW"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert (first.spacing_mm, first.axcodes) == (again.spacing_mm, again.axcodes)
    assert first.spacing_mm != other.spacing_mm


def test_lungs_and_lesions_have_plausible_volumes():
    activities = []
    for index in range(10):
        phantom = make_lung_phantom(0, index, SMALL)
        lung, lesion = phantom.labels_DHW > 0, phantom.labels_DHW == 2
        assert 0.06 < lung.mean() < 0.25
        if index % 5 == 4:
            assert not lesion.any()
        else:
            assert 0.01 < lesion.sum() / lung.sum() < 0.4
            middle = lung.shape[2] // 2
            assert lesion[:, :, :middle].any()
            assert lesion[:, :, middle:].any()
            assert phantom.pet_DHW[lesion].mean() > 1.5 * phantom.pet_DHW[lung & ~lesion].mean()
        assert phantom.pet_DHW.min() >= 0
        activities.append(float(np.median(phantom.pet_DHW[lung])))
    # No two patients share a scale of PET.
    assert max(activities) > 2 * min(activities)


def test_what_covid_leaves_in_a_lung():
    """Over a few patients: ground glass from -600 to -300 HU with some consolidations, most at the back."""
    healthy, ill, behind = [], [], []
    for index in range(4):
        phantom = make_lung_phantom(0, index, (64, 64, 64))
        lung = ndimage.binary_erosion(phantom.labels_DHW > 0)
        lesion = phantom.labels_DHW == 2
        healthy.append(phantom.ct_DHW[lung & ~lesion])
        ill.append(phantom.ct_DHW[lung & ndimage.binary_erosion(lesion)])
        behind.append(ndimage.center_of_mass(lesion)[1] - ndimage.center_of_mass(lung)[1])
    assert -870 < np.median(np.concatenate(healthy)) < -780
    values = np.concatenate(ill)
    assert -650 < np.median(values) < -300
    assert (values > -100).any()
    assert np.mean(behind) < 0


def test_a_soft_edge_fades_over_its_share_of_the_radius():
    mm = [np.arange(-30, 31, dtype=np.float32)] * 3
    blob = Blob(np.zeros(3), np.full(3, 20.0), 1.0, np.zeros((0, 3, 2)), 0.0, edge=0.5)
    box, share = blob.coverage(mm, (1.0, 1.0, 1.0))
    whole = np.zeros((61, 61, 61))
    whole[box] = share
    # 1 up to three quarters of the radius, a half at it, nothing beyond five quarters.
    np.testing.assert_allclose(whole[30, 30, [30, 45, 50, 55]], [1, 1, 0.5, 0], atol=1e-6)


@pytest.mark.parametrize("compressed", [False, True])
def test_files_are_a_task_of_two_channels(tmp_path, compressed):
    seen = []
    paths = write_lung_phantoms(tmp_path, 2, 1, (32, 32, 40), compressed, on_case=seen.append)
    assert seen == paths
    task = decathlon.read_task(tmp_path)
    assert task.classes == ("background", "lung", "lesion")
    assert task.regions == (Region("lung", (1, 2)), Region("lesion", (2,)))
    assert task.channels == (Channel("CT", "window", (-200.0, 250.0)), Channel("PET", "zscore"))
    cases = find_cases(tmp_path, len(task.channels)).used
    assert [case.name for case in cases] == ["lung_000", "lung_001"]
    for index, case in enumerate(cases):
        phantom = make_lung_phantom(1, index, (32, 32, 40))
        image = nifti.read_image(case.images, channels=task.channels)
        np.testing.assert_array_equal(image.array_DHW[..., 0], phantom.ct_DHW)
        np.testing.assert_array_equal(image.array_DHW[..., 1], phantom.pet_DHW)
        labels = nifti.read_labels(case.labels, like=image.grid)
        np.testing.assert_array_equal(labels.array_DHW, phantom.labels_DHW)
        assert "".join(nib.aff2axcodes(nib.load(case.labels).affine)) == phantom.axcodes


def test_another_data_set_is_never_written_into(tmp_path):
    (tmp_path / "dataset.json").write_text('{"name": "a hospital\'s"}')
    with pytest.raises(InputError, match="choose another"):
        write_lung_phantoms(tmp_path, 1, 0, (32, 32, 32))
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.json"]


def test_the_same_phantoms_may_be_written_again(tmp_path):
    for _ in range(2):
        write_lung_phantoms(tmp_path, 1, 0, (32, 32, 32))
    with pytest.raises(InputError, match="choose another"):
        write_lung_phantoms(tmp_path, 1, 1, (32, 32, 32))


def test_refusals(tmp_path):
    with pytest.raises(InputError, match="at least 32"):
        write_lung_phantoms(tmp_path, 1, 0, (31, 64, 64))
    with pytest.raises(InputError, match="at least 1"):
        write_lung_phantoms(tmp_path, 0, 0)
    assert list(tmp_path.iterdir()) == []
