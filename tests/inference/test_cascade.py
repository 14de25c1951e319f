"""Networks one after the other, with stand-ins whose labels follow from the intensities."""

import dataclasses

import numpy as np
import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.inference.cascade import Cascade, Stage, of_stages
from dsdenseunet.inference.predict import NonFiniteOutputError
from dsdenseunet.tasks.lits import TASK
from dsdenseunet.tasks.part import part_of
from tests.inference.bright import Bright, make_scans, run

SPACING_MM = (2.0, 1.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Above(Bright):
    """Its one region where the image is above a threshold; remembers what it was shown."""

    seen: list = dataclasses.field(default_factory=list)

    def network_labels(self, image, spacing_mm, progress=None, statistics=None, probabilities_CDHW=None):
        if image.max() > 4000:
            raise NonFiniteOutputError(1, 7, ["params/head"])
        self.seen.append((np.array(image), statistics))
        return (image > self.threshold).astype(np.uint8)


def two(margin_mm=0.0, **changed):
    """The liver above 50, then tumours above 100, within it."""
    liver, tumour = (dataclasses.replace(part_of(TASK, (name,)), **changed) for name in ("liver", "tumour"))
    return of_stages(
        [
            Stage("first", Above({}, 50, liver), "", 0.0),
            Stage("second", Above({}, 100, tumour), "liver", margin_mm),
        ],
        TASK,
    )


def image():
    """A liver of 2 x 3 x 4 voxels with a tumour, and something as bright as a tumour beside it."""
    image_DHW = np.zeros((6, 8, 9), np.int16)
    image_DHW[2:4, 3:6, 4:8] = 60
    image_DHW[3, 4, 5] = 200
    image_DHW[0, 0, 0] = 40
    return image_DHW


@pytest.mark.parametrize(("margin_mm", "shape"), [(0.0, (2, 3, 4)), (1.5, (4, 7, 7)), (100.0, (6, 8, 9))])
def test_the_second_sees_the_box_of_what_the_first_has_found(margin_mm, shape):
    cascade, slices = two(margin_mm), []
    labels_DHW = cascade.segment(image(), SPACING_MM, slices.append)
    expected = (image() > 50).astype(np.uint8) + (image() > 100)
    np.testing.assert_array_equal(labels_DHW, expected)
    ((shown, _),) = cascade.stages[1].segmenter.seen
    assert shown.shape == shape and shown.max() == 200
    assert sum(slices) == 6


def test_what_is_found_outside_the_liver_is_no_tumour():
    cascade = two(margin_mm=2.0)
    thinner = dataclasses.replace(
        cascade.stages[0], segmenter=Above({}, 150, cascade.stages[0].segmenter.task)
    )
    tumours = dataclasses.replace(
        cascade.stages[1], segmenter=Above({}, 50, cascade.stages[1].segmenter.task)
    )
    labels_DHW = Cascade((thinner, tumours), TASK).segment(image(), SPACING_MM)
    np.testing.assert_array_equal(labels_DHW, (image() > 150) * 2)


def test_nothing_is_looked_for_in_no_liver():
    cascade = two()
    assert not cascade.segment(np.zeros((3, 4, 5), np.int16), SPACING_MM).any()
    assert len(cascade.stages[0].segmenter.seen) == 1 and not cascade.stages[1].segmenter.seen


def test_a_box_is_normalised_as_the_whole_case():
    channels = part_of(TASK, ("liver",)).channels[0]
    cascade = two(channels=(dataclasses.replace(channels, normalisation="zscore", numbers=()),))
    cascade.segment(image(), SPACING_MM)
    ((_, of_whole),), ((_, of_box),) = (stage.segmenter.seen for stage in cascade.stages)
    assert of_box == of_whole
    assert of_box[0][0] == pytest.approx(image().mean(), rel=1e-6)


def test_a_margin_needs_a_spacing():
    with pytest.raises(ValueError, match="spacing_mm"):
        two(1.0).segment(image())


def test_probabilities_are_refused_by_name(tmp_path):
    with pytest.raises(InputError, match="a cascade"):
        run(make_scans(tmp_path / "scans"), tmp_path / "out", two(), save_probabilities=True)
    assert not (tmp_path / "out").exists()


def test_a_network_without_numbers_is_named_with_its_stage():
    bright = image()
    bright[3, 4, 5] = 5000
    cascade = two()
    quiet = dataclasses.replace(cascade.stages[0].segmenter, threshold=50)
    object.__setattr__(quiet, "network_labels", lambda image, *_, **__: (image > 50).astype(np.uint8))
    stages = (dataclasses.replace(cascade.stages[0], segmenter=quiet), cascade.stages[1])
    with pytest.raises(NonFiniteOutputError, match="the first in slice 3") as error:
        Cascade(stages, TASK).segment(bright, SPACING_MM)
    assert error.value.weights == ["second/params/head"]


def test_where_stages_look_is_part_of_what_makes_a_prediction_current():
    assert two().fingerprints()[:-1] == two(1.0).fingerprints()[:-1]
    assert two().fingerprints() != two(1.0).fingerprints()
