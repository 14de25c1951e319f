"""What phantoms are made of: soft-edged blobs at drawn places, in mm from the middle of the volume.

Axes are the canonical ones: D towards the head, H towards the front, W towards the patient's right.
"""

from __future__ import annotations

import dataclasses

import numpy as np

Box = tuple[slice, slice, slice]
# As a share of half the patient, far beyond the volume: a blob that is a cylinder.
TALL = 20.0


@dataclasses.dataclass(frozen=True, eq=False)
class Blob:
    """An ellipsoid with a wavy surface and one value.

    Attributes:
        centre_mm: (D, H, W).
        radii_mm: (D, H, W).
        value: Hounsfield units, or what else an image shows.
        waves: (n, 3, 2) frequency and phase along each axis of n standing waves on the surface.
        wave_height: of each, as a share of the radius.
        edge: how much of the radius its surface fades over, if that is more than a voxel; 0: none.
    """

    centre_mm: np.ndarray
    radii_mm: np.ndarray
    value: float
    waves: np.ndarray
    wave_height: float
    edge: float = 0.0

    def coverage(
        self, mm: list[np.ndarray], spacing_mm: tuple[float, float, float]
    ) -> tuple[Box, np.ndarray] | None:
        """Share of each voxel that is inside, to first order, within the blob's bounding box.

        Of one with a soft edge, how much of it there is in each voxel.

        Args:
            mm: voxel centres along each axis.
            spacing_mm: voxel sides.

        Returns:
            The box as slices, and its shares in [0, 1]; None where the blob is elsewhere.
        """
        reach = self.radii_mm * (1 + self.wave_height * len(self.waves) + self.edge / 2) + spacing_mm
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
        surface /= np.maximum(width, max(1e-3, self.edge))
        surface += 0.5
        return (box[0], box[1], box[2]), np.clip(surface, 0, 1, out=surface)


class Patient:
    """Draws blobs at places that are shares of half a patient's sides.

    Attributes:
        rng: whose next numbers every blob takes.
        half_mm: half the patient's sides, (D, H, W).
    """

    def __init__(self, rng: np.random.Generator, extent_mm: np.ndarray):
        """Draws a girth for a patient who fills a volume of `extent_mm` (D, H, W)."""
        self.rng = rng
        self.half_mm = np.asarray(extent_mm) / 2 * (1, rng.uniform(0.84, 1.04), rng.uniform(0.88, 1.02))

    def blob(
        self,
        centre: tuple[float, float, float],
        radii: tuple[float, float, float],
        value: float,
        wave: float = 0.03,
        jitter: float = 0.05,
    ) -> Blob:
        """Centre and radii as shares of half the patient; without jitter also the size is kept."""
        moved = (np.asarray(centre) + self.rng.uniform(-jitter, jitter, 3)) * self.half_mm
        sized = np.asarray(radii) * self.half_mm * (self.rng.uniform(0.88, 1.12, 3) if jitter else 1.0)
        return Blob(moved, sized, value, draw_waves(self.rng, 2), wave)

    def wall(self) -> list[Blob]:
        """Skin and fat, and the muscle within them."""
        return [
            self.blob((0, 0, 0), (TALL, 0.74, 0.94), -100, 0.004, 0.0),
            self.blob((0, 0.0, 0), (TALL, 0.66, 0.86), 55, 0.004, 0.0),
        ]

    def spine(self) -> list[Blob]:
        """Vertebrae, their processes and the canal between the two."""
        return [
            self.blob((0, -0.40, 0), (TALL, 0.15, 0.13), 220, 0.01, 0.0),
            self.blob((0, -0.56, 0), (TALL, 0.08, 0.05), 300, 0.02, 0.0),
            self.blob((0, -0.50, 0), (TALL, 0.035, 0.04), 30, 0.0, 0.0),
        ]

    def vessel(self, organ: Blob, hu: float) -> Blob:
        """A long thin blob along one axis, within an organ and brighter than `hu` by 20 to 70 HU."""
        radii = np.full(3, self.rng.uniform(0.012, 0.03)) * self.half_mm
        axis = int(self.rng.integers(3))
        radii[axis] = organ.radii_mm[axis] * self.rng.uniform(0.4, 0.8)
        place = organ.centre_mm + self.rng.uniform(-0.6, 0.6, 3) * organ.radii_mm
        return Blob(place, radii, hu + float(self.rng.uniform(20, 70)), draw_waves(self.rng, 1), 0.1)


def draw_waves(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 3, 2): frequencies (radians a radius) and phases."""
    return np.stack([rng.uniform(1.5, 5, (count, 3)), rng.uniform(0, 2 * np.pi, (count, 3))], axis=-1)


def paint(
    image: np.ndarray,
    blob: Blob,
    mm: list[np.ndarray],
    spacing_mm: tuple[float, float, float],
    inside: np.ndarray | None = None,
    onto: np.ndarray | None = None,
) -> None:
    """Mixes a blob's value into an image, by its share of each voxel.

    Args:
        image: float32; changed.
        blob: what to paint.
        mm: voxel centres along each axis.
        spacing_mm: voxel sides.
        inside: shares of what the blob ends at; None: nothing.
        onto: shares of an organ that the blob is a part of; changed.
    """
    boxed = blob.coverage(mm, spacing_mm)
    if boxed is None:
        return
    box, share = boxed
    if inside is not None:
        share = share * inside[box]
    image[box] += share * (blob.value - image[box])
    if onto is not None:
        np.maximum(onto[box], share, out=onto[box])


def paint_ribs(hu: np.ndarray, mm: list[np.ndarray], half_mm: np.ndarray) -> None:
    """Bone arcs in the chest wall of a patient of these half sides, sloping down to the front."""
    d, h, w = (axis / half for axis, half in zip(mm, half_mm))
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


def _outer_sum(axes: list[np.ndarray]) -> np.ndarray:
    d, h, w = axes
    return np.asarray(d[:, None, None] + h[None, :, None] + w[None, None, :], dtype=np.float32)
