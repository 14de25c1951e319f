"""Anatomy of the abdominal phantom, as blobs."""

from __future__ import annotations

import dataclasses

import numpy as np

from dsdenseunet.data.samples.blob import TALL, Blob, Patient, draw_waves

TUMOUR_DIAMETER_MM = (3.0, 60.0)
TUMOUR_CONTRAST_HU = (20.0, 70.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Anatomy:
    """What is in a phantom, in the order in which it is painted.

    Attributes:
        torso: skin, fat, muscle, lungs.
        organs: everything but the liver.
        liver: its lobes.
        vessels: inside the liver.
        tumours: inside the liver.
        half_mm: half the patient's sides.
        noise_hu: standard deviation of the noise.
        texture_waves: (n, 3, 2) of the liver's uneven enhancement.
    """

    torso: list[Blob]
    organs: list[Blob]
    liver: list[Blob]
    vessels: list[Blob]
    tumours: list[Blob]
    half_mm: np.ndarray
    noise_hu: float
    texture_waves: np.ndarray

    def texture(self, mm: list[np.ndarray]) -> np.ndarray:
        """Uneven enhancement of the liver: a few HU."""
        total = np.zeros(tuple(len(axis) for axis in mm), np.float32)
        for wave in self.texture_waves:
            d, h, w = (np.sin(f * a / half + phase) for a, half, (f, phase) in zip(mm, self.half_mm, wave))
            total += 3 * (d[:, None, None] * h[None, :, None] * w[None, None, :])
        return total


def draw_anatomy(
    rng: np.random.Generator, extent_mm: np.ndarray, spacing_mm: tuple[float, float, float], tumours: int
) -> Anatomy:
    """Draws a patient that fills a volume of `extent_mm` (D, H, W), with so many tumours."""
    patient = Patient(rng, extent_mm)
    half, blob = patient.half_mm, patient.blob
    torso = [
        *patient.wall(),
        blob((0, 0.04, 0), (TALL, 0.54, 0.76), -95, 0.01, 0.0),
        blob((1.05, -0.05, 0.42), (0.62, 0.50, 0.36), -850),
        blob((1.05, -0.05, -0.42), (0.70, 0.50, 0.36), -850),
    ]
    liver_hu = float(rng.uniform(70, 125))
    organs = [
        blob((1.0, 0.15, -0.08), (0.40, 0.30, 0.30), liver_hu + rng.uniform(10, 50)),  # heart
        *patient.spine(),
        blob((0, -0.34, 0.22), (TALL, 0.13, 0.10), 58, 0.03),  # psoas
        blob((0, -0.34, -0.22), (TALL, 0.13, 0.10), 58, 0.03),
        blob((0, -0.17, -0.06), (TALL, 0.06, 0.05), float(rng.uniform(130, 200)), 0.02),  # aorta
        blob((0, -0.17, 0.13), (TALL, 0.06, 0.07), liver_hu + rng.uniform(5, 40), 0.02),  # vena cava
        blob((0.35, -0.22, -0.58), (0.34, 0.20, 0.15), liver_hu + rng.uniform(-8, 25), 0.06),  # spleen
        blob((0.30, 0.22, -0.35), (0.32, 0.20, 0.26), float(rng.uniform(0, 45)), 0.05),  # stomach
        blob((0.36, 0.34, -0.33), (0.18, 0.07, 0.16), -900, 0.05),  # gas in it
        blob((-0.02, 0.0, -0.12), (0.09, 0.07, 0.26), float(rng.uniform(70, 110)), 0.06),  # pancreas
    ]
    for side in (1, -1):
        kidney = ((-0.25, -0.30, side * 0.44), (0.30, 0.15, 0.13))
        organs.append(blob(*kidney, float(rng.uniform(140, 200)), 0.03))
        last = organs[-1]
        pelvis = last.radii_mm * (0.6, 0.45, 0.45)
        organs.append(
            Blob(last.centre_mm - (0, 0, side * 0.03 * half[2]), pelvis, 80, draw_waves(rng, 2), 0.08)
        )
    for _ in range(14):  # bowel: some loops look just like liver or tumour
        place = (rng.uniform(-1, -0.25), rng.uniform(-0.1, 0.45), rng.uniform(-0.62, 0.62))
        loop = (rng.uniform(0.08, 0.2), rng.uniform(0.06, 0.11), rng.uniform(0.06, 0.16))
        organs.append(blob(place, loop, float(rng.choice([-700, 20, 45, 70, liver_hu, 160])), 0.08))
    lobes = [
        blob((0.25, -0.02, 0.44), (0.60, 0.46, 0.34), liver_hu, 0.05),
        blob((0.40, 0.26, 0.06), (0.30, 0.22, 0.44), liver_hu, 0.06),
    ]
    vessels = [patient.vessel(lobes[0], liver_hu) for _ in range(7)]
    vessels += [patient.vessel(lobes[1], liver_hu) for _ in range(3)]
    found = [_tumour(rng, lobes, spacing_mm, liver_hu, first=number == 0) for number in range(tumours)]
    noise = float(rng.uniform(8, 22))
    return Anatomy(torso, organs, lobes, vessels, found, half, noise, draw_waves(rng, 4) * (3, 1))


def _tumour(
    rng: np.random.Generator,
    lobes: list[Blob],
    spacing_mm: tuple[float, float, float],
    liver_hu: float,
    first: bool,
) -> Blob:
    """A tumour in one of the lobes; the first is large enough to be seen in any spacing."""
    lobe = lobes[0] if rng.random() < 0.7 else lobes[1]
    least, most = TUMOUR_DIAMETER_MM
    most = min(most, 0.9 * float(lobe.radii_mm.min()))
    if first:
        lobe = lobes[0]
        most = min(TUMOUR_DIAMETER_MM[1], 0.9 * float(lobe.radii_mm.min()))
        least = max(least, 3 * max(spacing_mm), most / 2)
    least, most = min(least, most), max(least, most)
    diameter = float(np.exp(rng.uniform(np.log(least), np.log(most))))
    direction = rng.standard_normal(3)
    direction *= rng.uniform(0, 0.75) / np.linalg.norm(direction)
    room = np.maximum(lobe.radii_mm - diameter / 4, 0)
    contrast = float(rng.uniform(*TUMOUR_CONTRAST_HU))
    # Most take up less contrast medium than the liver, a few more.
    hu = liver_hu + contrast if rng.random() < 0.15 else liver_hu - contrast
    radii = diameter / 2 * rng.uniform(0.8, 1.2, 3)
    return Blob(lobe.centre_mm + direction * room, radii, hu, draw_waves(rng, 3), 0.06)
