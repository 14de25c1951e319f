"""Scans of noise, and a predictor without a network."""

import dataclasses

import numpy as np

from dsdenseunet.data.scans import nifti
from dsdenseunet.inference.folder import predict_folder
from dsdenseunet.inference.predict import Segmenter
from dsdenseunet.inference.scans import find_scans
from dsdenseunet.tasks.lits import TASK
from dsdenseunet.tasks.task import Task


@dataclasses.dataclass(frozen=True)
class Bright(Segmenter):
    """Stands in for a Predictor: tumour above 100 HU, liver above 0."""

    variables: dict
    threshold: int = 0
    task: Task = TASK

    def members(self):
        return {"": self}

    def on(self, device):
        return self

    def pieces(self, image, spacing_mm=None, statistics=None):
        raise NotImplementedError

    def check_room(self, path, shape, spacing_mm):
        pass

    def network_labels(self, image_DHW, spacing_mm, progress, probabilities_CDHW=None):
        progress(len(image_DHW))
        if image_DHW.min() < -2000:
            raise MemoryError("too large for this device")
        if probabilities_CDHW is not None:
            probabilities_CDHW[:] = 0
        return (image_DHW > self.threshold).astype(np.uint8) + (image_DHW > 100)

    def clean(self, labels_DHW, spacing_mm):
        return labels_DHW


BRIGHT = Bright({"w": np.arange(3.0)})


def make_scan(path, seed=0, axcodes="LPS", low=-500):
    image = np.random.default_rng(seed).integers(low, 500, (4, 6, 5)).astype(np.int16)
    nifti.write_new(path, image, (2.5, 0.7, 0.8), axcodes)
    return image


def make_scans(folder):
    """Three scans, each stored along other axes."""
    for number, axcodes in enumerate(("LPS", "RAS", "SAR")):
        make_scan(folder / f"volume-{number}.nii", number, axcodes)
    return folder


def run(folder, output, predictor=BRIGHT, **options):
    said = []
    outcome = predict_folder([predictor], find_scans(folder).used, output, report=said.append, **options)
    return outcome, "\n".join(said)
