"""Anatomy of the lung phantom: a chest, and what COVID-19 leaves in its lungs.

Ground glass lies at the lungs' edge, more of it at the back and below, in both lungs, and fades into them;
vessels show through it. A severe case has consolidations as well, which hide them.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from dsdenseunet.data.samples.blob import TALL, Blob, Patient, draw_waves

LUNG_HU = -850.0
GROUND_GLASS_HU = (-600.0, -300.0)
CONSOLIDATION_HU = (0.0, 40.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Tissue:
    """A part of the chest, as both scanners see it.

    Attributes:
        blob: its place, and its Hounsfield units.
        uptake: of the tracer, as a multiple of muscle's.
    """

    blob: Blob
    uptake: float


@dataclasses.dataclass(frozen=True, eq=False)
class Chest:
    """What is in a phantom, in the order in which it is painted.

    Attributes:
        wall: skin and fat, and muscle.
        cavity: what the ribs enclose.
        lungs: the right one and the left one, within the cavity.
        organs: mediastinum, heart, spine, and what lies below the diaphragm; the lungs make room for them.
        ground_glass: inside the lungs.
        vessels: inside the lungs.
        consolidations: inside the lungs.
        half_mm: half the patient's sides.
        noise_hu: standard deviation of the CT's noise.
        activity: of tissue with an uptake of 1, in Bq/mL: dose, weight and the time since the injection
            make it another one in each patient.
    """

    wall: list[Tissue]
    cavity: Tissue
    lungs: list[Tissue]
    organs: list[Tissue]
    ground_glass: list[Tissue]
    vessels: list[Tissue]
    consolidations: list[Tissue]
    half_mm: np.ndarray
    noise_hu: float
    activity: float


def draw_chest(
    rng: np.random.Generator, extent_mm: np.ndarray, spacing_mm: tuple[float, float, float], lesions: int
) -> Chest:
    """Draws a patient who fills a volume of `extent_mm` (D, H, W), with so many areas of ground glass."""
    patient = Patient(rng, extent_mm)
    blob = patient.blob
    wall = [Tissue(layer, uptake) for layer, uptake in zip(patient.wall(), (0.3, 1.0))]
    cavity = Tissue(blob((0, 0.03, 0), (TALL, 0.56, 0.75), 10, 0.01, 0.0), 1.0)
    lungs = [
        Tissue(blob((0.05, -0.02, side * 0.41), (0.86, 0.52, 0.35), LUNG_HU, 0.02), 0.4) for side in (1, -1)
    ]
    heart = blob((-0.35, 0.17, -0.13), (0.42, 0.29, 0.27), float(rng.uniform(30, 50)))
    organs = [
        Tissue(blob((0, 0.02, 0), (TALL, 0.34, 0.14), 30, 0.02), 1.2),  # mediastinum
        Tissue(heart, float(rng.uniform(1.5, 7))),  # glucose or fat: the heart's uptake follows the last meal
        *(Tissue(bone, uptake) for bone, uptake in zip(patient.spine(), (1.6, 0.8, 0.8))),
        Tissue(blob((0, -0.17, -0.12), (TALL, 0.07, 0.06), 45, 0.02), 1.6),  # aorta
        Tissue(blob((1.0, -0.03, 0), (0.75, 0.05, 0.05), -1000, 0.0), 0.1),  # windpipe
        Tissue(blob((-1.02, 0.0, 0.40), (0.52, 0.60, 0.42), 60), 2.2),  # liver
        Tissue(blob((-1.12, 0.0, -0.42), (0.52, 0.60, 0.40), 45), 1.8),  # spleen and stomach
    ]
    vessels = [Tissue(patient.vessel(lung.blob, -30), 1.6) for lung in lungs for _ in range(14)]
    ground_glass, consolidations = [], []
    severe = bool(rng.random() < 0.5)
    first = int(rng.integers(2))
    for number in range(lesions):
        # In both lungs, by turns.
        lung = lungs[(first + number) % 2].blob
        area = _ground_glass(rng, lung, spacing_mm, first=number < 2)
        ground_glass.append(Tissue(area, float(rng.uniform(1.0, 4.0))))
        if severe and (number == 0 or rng.random() < 0.5):
            consolidations.append(Tissue(_core(rng, area), float(rng.uniform(3.0, 9.0))))
    noise, activity = float(rng.uniform(10, 30)), float(np.exp(rng.uniform(np.log(800), np.log(3500))))
    return Chest(
        wall, cavity, lungs, organs, ground_glass, vessels, consolidations, patient.half_mm, noise, activity
    )


def _ground_glass(
    rng: np.random.Generator, lung: Blob, spacing_mm: tuple[float, float, float], first: bool
) -> Blob:
    """An area at a lung's edge; the first one in a lung is large enough to be seen in any spacing."""
    least, most = (0.35, 0.6) if first else (0.12, 0.6)
    radius = float(np.exp(rng.uniform(np.log(least), np.log(most)))) * float(lung.radii_mm.min())
    radii = radius * rng.uniform(0.7, 1.4, 3)
    if first:
        radii = np.maximum(radii, 2 * np.asarray(spacing_mm))
    outward = float(np.sign(lung.centre_mm[2]))
    direction = rng.standard_normal(3) + np.array([-0.5, -0.6, 0.6 * outward])
    direction *= rng.uniform(0.65, 0.9) / np.linalg.norm(direction)
    hu, edge = float(rng.uniform(*GROUND_GLASS_HU)), float(rng.uniform(0.3, 0.8))
    return Blob(lung.centre_mm + direction * lung.radii_mm, radii, hu, draw_waves(rng, 3), 0.08, edge)


def _core(rng: np.random.Generator, area: Blob) -> Blob:
    """A consolidation within an area of ground glass."""
    shift = rng.uniform(-0.3, 0.3, 3) * area.radii_mm
    radii = area.radii_mm * rng.uniform(0.4, 0.65, 3)
    hu = float(rng.uniform(*CONSOLIDATION_HU))
    return Blob(area.centre_mm + shift, radii, hu, draw_waves(rng, 3), 0.08, 0.2)
