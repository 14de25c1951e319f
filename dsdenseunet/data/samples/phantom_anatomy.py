"""Anatomy of the phantom: soft-edged blobs at drawn places, in mm from the middle of the volume.

Axes are the canonical ones: D towards the head, H towards the front, W towards the patient's right.
"""

from __future__ import annotations

import dataclasses

import numpy as np

Box = tuple[slice, slice, slice]

TUMOUR_DIAMETER_MM = (3.0, 60.0)
TUMOUR_CONTRAST_HU = (20.0, 70.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Blob:
    """An ellipsoid with a wavy surface and one Hounsfield value.

    Attributes:
        centre_mm: (D, H, W).
        radii_mm: (D, H, W).
        hu: Hounsfield units.
        waves: (n, 3, 2) frequency and phase along each axis of n standing waves on the surface.
        wave_height: of each, as a share of the radius.
    """

    centre_mm: np.ndarray
    radii_mm: np.ndarray
    hu: float
    waves: np.ndarray
    wave_height: float

    def coverage(
        self, mm: list[np.ndarray], spacing_mm: tuple[float, float, float]
    ) -> tuple[Box, np.ndarray] | None:
        """Share of each voxel that is inside, to first order, within the blob's bounding box.

        Args:
            mm: voxel centres along each axis.
            spacing_mm: voxel sides.

        Returns:
            The box as slices, and its shares in [0, 1]; None where the blob is elsewhere.
        """
        reach = self.radii_mm * (1 + self.wave_height * len(self.waves)) + spacing_mm
        box = []
        for axis, centre, r in zip(mm, self.centre_mm, reach):
            first, end = np.searchsorted(axis, (centre - r, centre + r))
            if first == end:
                return None
            box.append(slice(int(first), int(end)))
        unit = [(axis[s] - c) / r for axis, s, c, r in zip(mm, box, self.centre_mm, self.radii_mm)]
        steps = np.asarray(spacing_mm) / self.radii_mm
        squares = _outer_sum([u * u for u in unit])
        radius = np.sqrt(squares, out=squares)
        # A voxel spans this much of the radius, along the surface's normal.
        width = np.sqrt(_outer_sum([(u * step) ** 2 for u, step in zip(unit, steps)]))
        width /= np.maximum(radius, 1e-3)
        surface = 1 - radius
        for wave in self.waves:
            d, h, w = (np.sin(f * u + phase) for u, (f, phase) in zip(unit, wave))
            surface += self.wave_height * (d[:, None, None] * h[None, :, None] * w[None, None, :])
        surface /= np.maximum(width, 1e-3)
        surface += 0.5
        return (box[0], box[1], box[2]), np.clip(surface, 0, 1, out=surface)


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

    def paint_ribs(self, hu: np.ndarray, mm: list[np.ndarray]) -> None:
        """Bone arcs in the chest wall, sloping down to the front."""
        d, h, w = (axis / half for axis, half in zip(mm, self.half_mm))
        ring = np.sqrt((h[:, None] / 0.66) ** 2 + (w[None, :] / 0.86) ** 2)
        across = ((ring - 0.9) / 0.035) ** 2
        wall = across < 1
        if not wall.any():
            return
        # Position between two ribs, from -0.5 to 0.5; ribs end in front and below.
        turn = (d[:, None] + (0.25 * np.broadcast_to(h[:, None], ring.shape)[wall])[None]) / 0.19
        along = np.abs(turn - np.rint(turn)) / 0.17
        front = np.broadcast_to(h[:, None], ring.shape)[wall][None]
        share = np.clip((1 - across[wall][None] - along**2) * 2, 0, 1)
        share *= (front < 0.5) & (d[:, None] > -0.55)
        hu[:, wall] += share * (450 - hu[:, wall])


def draw_anatomy(
    rng: np.random.Generator, extent_mm: np.ndarray, spacing_mm: tuple[float, float, float], tumours: int
) -> Anatomy:
    """Draws a patient that fills a volume of `extent_mm` (D, H, W), with so many tumours."""
    # Patients differ in girth.
    half = np.asarray(extent_mm) / 2 * (1, rng.uniform(0.84, 1.04), rng.uniform(0.88, 1.02))

    def blob(
        centre: tuple[float, float, float],
        radii: tuple[float, float, float],
        hu: float,
        wave: float = 0.03,
        jitter: float = 0.05,
    ) -> Blob:
        """Centre and radii as shares of half the patient; without jitter also the size is kept."""
        moved = (np.asarray(centre) + rng.uniform(-jitter, jitter, 3)) * half
        sized = np.asarray(radii) * half * (rng.uniform(0.88, 1.12, 3) if jitter else 1.0)
        return Blob(moved, sized, hu, _waves(rng, 2), wave)

    tall = 20.0  # Far beyond the volume: a cylinder.
    torso = [
        blob((0, 0, 0), (tall, 0.74, 0.94), -100, 0.004, 0.0),
        blob((0, 0.0, 0), (tall, 0.66, 0.86), 55, 0.004, 0.0),
        blob((0, 0.04, 0), (tall, 0.54, 0.76), -95, 0.01, 0.0),
        blob((1.05, -0.05, 0.42), (0.62, 0.50, 0.36), -850),
        blob((1.05, -0.05, -0.42), (0.70, 0.50, 0.36), -850),
    ]
    liver_hu = float(rng.uniform(70, 125))
    organs = [
        blob((1.0, 0.15, -0.08), (0.40, 0.30, 0.30), liver_hu + rng.uniform(10, 50)),  # heart
        blob((0, -0.40, 0), (tall, 0.15, 0.13), 220, 0.01, 0.0),  # vertebrae
        blob((0, -0.56, 0), (tall, 0.08, 0.05), 300, 0.02, 0.0),
        blob((0, -0.50, 0), (tall, 0.035, 0.04), 30, 0.0, 0.0),  # spinal canal
        blob((0, -0.34, 0.22), (tall, 0.13, 0.10), 58, 0.03),  # psoas
        blob((0, -0.34, -0.22), (tall, 0.13, 0.10), 58, 0.03),
        blob((0, -0.17, -0.06), (tall, 0.06, 0.05), float(rng.uniform(130, 200)), 0.02),  # aorta
        blob((0, -0.17, 0.13), (tall, 0.06, 0.07), liver_hu + rng.uniform(5, 40), 0.02),  # vena cava
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
        organs.append(Blob(last.centre_mm - (0, 0, side * 0.03 * half[2]), pelvis, 80, _waves(rng, 2), 0.08))
    for _ in range(14):  # bowel: some loops look just like liver or tumour
        place = (rng.uniform(-1, -0.25), rng.uniform(-0.1, 0.45), rng.uniform(-0.62, 0.62))
        loop = (rng.uniform(0.08, 0.2), rng.uniform(0.06, 0.11), rng.uniform(0.06, 0.16))
        organs.append(blob(place, loop, float(rng.choice([-700, 20, 45, 70, liver_hu, 160])), 0.08))
    lobes = [
        blob((0.25, -0.02, 0.44), (0.60, 0.46, 0.34), liver_hu, 0.05),
        blob((0.40, 0.26, 0.06), (0.30, 0.22, 0.44), liver_hu, 0.06),
    ]
    vessels = [_vessel(rng, lobes[0], half, liver_hu) for _ in range(7)]
    vessels += [_vessel(rng, lobes[1], half, liver_hu) for _ in range(3)]
    found = [_tumour(rng, lobes, spacing_mm, liver_hu, first=number == 0) for number in range(tumours)]
    noise = float(rng.uniform(8, 22))
    return Anatomy(torso, organs, lobes, vessels, found, half, noise, _waves(rng, 4) * (3, 1))


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
    return Blob(lobe.centre_mm + direction * room, radii, hu, _waves(rng, 3), 0.06)


def _vessel(rng: np.random.Generator, lobe: Blob, half: np.ndarray, liver_hu: float) -> Blob:
    """A long thin blob along one axis, brighter than the liver by 20 to 70 HU."""
    radii = np.full(3, rng.uniform(0.012, 0.03)) * half
    axis = int(rng.integers(3))
    radii[axis] = lobe.radii_mm[axis] * rng.uniform(0.4, 0.8)
    place = lobe.centre_mm + rng.uniform(-0.6, 0.6, 3) * lobe.radii_mm
    return Blob(place, radii, liver_hu + float(rng.uniform(20, 70)), _waves(rng, 1), 0.1)


def _waves(rng: np.random.Generator, count: int) -> np.ndarray:
    """Frequencies (radians a radius) and phases."""
    return np.stack([rng.uniform(1.5, 5, (count, 3)), rng.uniform(0, 2 * np.pi, (count, 3))], axis=-1)


def _outer_sum(axes: list[np.ndarray]) -> np.ndarray:
    d, h, w = axes
    return np.asarray(d[:, None, None] + h[None, :, None] + w[None, None, :], dtype=np.float32)
