"""The files of one scan: one for all channels, or, as nnU-Net keeps them, one for each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans.grid import SAME_GRID_VOXELS, Grid, axis_codes, distance_voxels, grid_of
from dsdenseunet.data.scans.opening import open_volume
from dsdenseunet.data.scans.stored_volume import StoredVolume
from dsdenseunet.tasks.channel import Channel


def open_scan(paths: Sequence[Path], channels: Sequence[Channel]) -> tuple[list[StoredVolume], list[Grid]]:
    """Header and grid of each file of a scan.

    Args:
        paths: one file, or one for each channel.
        channels: of the task.

    Raises:
        InputError: as `open_volume` and `grid_of`; or a channel's file that is missing, named beside one that
            is there.
    """
    if len(paths) == 1:
        files = [open_volume(paths[0], len(channels))]
    else:
        require(paths, channels)
        files = [open_volume(path) for path in paths]
    return files, [grid_of(stored) for stored in files]


def require(paths: Sequence[Path], channels: Sequence[Channel]) -> None:
    """Refuses a scan of which some channels' files are there and others are not.

    Raises:
        InputError: the first one that is missing, named beside one that is there.
    """
    there = next((path for path in paths if path.exists()), None)
    for channel, path in zip(channels, paths):
        if there and not path.exists():
            raise InputError(
                path,
                found="no such file",
                expected=f"channel {channel.name} of the scan that {there} belongs to",
                fix="restore the file, or leave the case out",
            )


def common_grid(files: Sequence[StoredVolume], grids: Sequence[Grid]) -> Grid:
    """The first file's grid, with what was assumed of any header among its marks, and the series of all.

    Raises:
        InputError: a channel on another grid, named beside the first.
    """
    first, marks, series = grids[0], list(grids[0].marks), list(grids[0].series)
    for stored, grid in zip(files[1:], grids[1:], strict=True):
        series += grid.series
        marks += [f"{stored.path.name}: {mark}" for mark in grid.marks if mark not in first.marks]
        apart = distance_voxels(first, grid)
        if apart <= SAME_GRID_VOXELS:
            continue
        found = f"a grid up to {apart:.1f} voxels away from the first channel's"
        if grid.shape_DHW != first.shape_DHW:
            found = _in_words(grid)
        raise InputError(
            stored.path,
            found=found,
            expected=f"{_in_words(first)}, on the grid of {files[0].path}",
            fix="resample the channel onto that grid, or leave the case out",
        )
    return dataclasses.replace(first, marks=tuple(marks), series=tuple(series))


def _in_words(grid: Grid) -> str:
    return f"{' x '.join(map(str, grid.shape_IJK))} voxels along {axis_codes(grid)}"
