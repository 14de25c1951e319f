import gzip
import io
import os
import resource
import struct
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.scans import nifti, nifti_file


def nifti_bytes(shape=(3, 4, 5), dtype=np.int16, **fields):
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header["vox_offset"] = 352
    for field, value in fields.items():
        header[field] = value
    voxels = np.arange(np.prod(shape)).astype(dtype)
    return header.binaryblock + bytes(4) + voxels.tobytes()


def write(path, data):
    path.write_bytes(data)
    return path


def refused(path, match, reader=nifti.read_image):
    with pytest.raises(InputError, match=match) as caught:
        reader(path)
    error = caught.value
    assert error.where == str(path)
    assert error.found
    assert error.expected
    assert error.fix
    return error


def test_no_such_file_a_folder_or_a_pipe(tmp_path):
    refused(tmp_path / "v.nii", "no such file")
    refused(tmp_path, "a folder")
    os.mkfifo(tmp_path / "pipe.nii")
    refused(tmp_path / "pipe.nii", "neither a file nor a folder")


@pytest.mark.parametrize("data", [b"", b"\x5c", b"PK\x03\x04" * 200, b"\x1f\x8b", bytes(400)])
def test_what_is_no_nifti(tmp_path, data):
    refused(write(tmp_path / "v.nii", data), "NIfTI|ends early|gzip")


def test_a_header_image_pair_is_refused(tmp_path):
    refused(write(tmp_path / "v.nii", nifti_bytes(magic=b"ni1")), "magic")


@pytest.mark.parametrize("keep", [100, 348, 351, 353, -1])
@pytest.mark.parametrize("packed", [False, True])
def test_truncated_before_packing(tmp_path, keep, packed):
    data = nifti_bytes()[:keep]
    refused(write(tmp_path / "v.nii", gzip.compress(data) if packed else data), "ends early|bytes")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_truncated_gzip(tmp_path, share):
    voxels = np.random.default_rng(0).integers(0, 1000, (20, 20, 20)).astype(np.int16)
    packed = gzip.compress(nifti_bytes((20, 20, 20))[:352] + voxels.tobytes())
    refused(write(tmp_path / "v.nii.gz", packed[: int(len(packed) * share)]), "truncated|ends early")


def test_a_flipped_bit_in_gzip_is_found_by_its_checksum(tmp_path):
    packed = bytearray(gzip.compress(nifti_bytes((20, 20, 20)), compresslevel=0))
    packed[1000] ^= 1
    refused(write(tmp_path / "v.nii.gz", bytes(packed)), "damaged")


@pytest.mark.parametrize(
    "dim", [(2, 3, 4, 5), (4, 3, 4, 5, 2), (0,) * 8, (9, 1, 1, 1), (3, 3, 0, 5), (3, -1, 4, 5)]
)
def test_what_is_no_3d_volume(tmp_path, dim):
    data = bytearray(nifti_bytes())
    data[40:56] = struct.pack("<8h", *(tuple(dim) + (1,) * 8)[:8])
    refused(write(tmp_path / "v.nii", bytes(data)), "dimensions")


@pytest.mark.parametrize("code", [0, 1, 32, 128, 1536, 1792, 2304])
def test_colours_and_complex_numbers_are_refused(tmp_path, code):
    refused(write(tmp_path / "v.nii", nifti_bytes(datatype=code)), "datatype")


@pytest.mark.parametrize("offset", [float("nan"), float("inf"), -352, 100, 352.5, 1e12])
def test_voxels_that_start_nowhere(tmp_path, offset):
    refused(write(tmp_path / "v.nii", nifti_bytes(vox_offset=offset)), "start at byte")


def test_an_unset_offset_is_the_headers_end(tmp_path):
    volume = nifti.read_image(write(tmp_path / "v.nii", nifti_bytes(vox_offset=0)))
    assert volume.array_DHW.max() == 59


def test_an_intercept_that_is_no_number(tmp_path):
    refused(write(tmp_path / "v.nii", nifti_bytes(scl_slope=1, scl_inter=float("inf"))), "scl_inter")


def test_scaling_that_overflows_is_no_hounsfield_unit(tmp_path):
    data = nifti_bytes(dtype=np.float64, scl_slope=3e38)
    data = data[:352] + np.full(60, 1e300).tobytes()
    refused(write(tmp_path / "v.nii", data), "NaN or infinite")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("sides", [(32767, 32767, 32767), (800, 800, 800), (4000, 4000, 30)])
def test_absurd_dimensions_cost_no_memory(tmp_path, sides, packed):
    data = bytearray(nifti_bytes())
    data[42:48] = struct.pack("<3h", *sides)
    path = write(tmp_path / "v.nii", gzip.compress(bytes(data)) if packed else bytes(data))
    tracemalloc.start()
    refused(path, "voxels")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_a_gzip_bomb_costs_no_memory(tmp_path):
    # 128 MiB of zeros behind a header that declares 60 voxels.
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1) as packed:
        packed.write(nifti_bytes())
        for _ in range(16):
            packed.write(bytes(2**23))
    path = write(tmp_path / "bomb.nii.gz", stream.getvalue())
    tracemalloc.start()
    refused(path, "more data than the header declares")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


def test_a_little_padding_is_no_fault(tmp_path):
    for name, data in (
        ("v.nii", nifti_bytes() + bytes(512)),
        ("v.nii.gz", gzip.compress(nifti_bytes() + b"x")),
    ):
        assert nifti.read_image(write(tmp_path / name, data)).array_DHW.size == 60


def test_gzip_is_known_by_its_content_not_its_name(tmp_path):
    plain = nifti.read_image(write(tmp_path / "a.nii.gz", nifti_bytes()))
    packed = nifti.read_image(write(tmp_path / "b.nii", gzip.compress(nifti_bytes())))
    np.testing.assert_array_equal(plain.array_DHW, packed.array_DHW)


def test_reading_takes_two_bytes_a_voxel(tmp_path):
    """Float64 on disk is 8 bytes a voxel; the blocks on their way take some more."""
    voxels = 200 * 100 * 100
    path = write(tmp_path / "v.nii", nifti_bytes((200, 100, 100), np.float64, scl_slope=1e-3))
    tracemalloc.start()
    nifti.read_image(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * voxels + 6 * nifti_file.BLOCK_BYTES


@pytest.mark.parametrize("block_bytes", [1, 6, 14, 24, 30, 70, 2**22])
def test_blocks_of_any_size_make_the_whole_volume(tmp_path, monkeypatch, block_bytes):
    """Rows, several rows of a plane, planes, several planes, all of it."""
    monkeypatch.setattr(nifti_file, "BLOCK_BYTES", block_bytes)
    header = nifti_file.read_header(write(tmp_path / "v.nii", nifti_bytes()))
    whole = np.full((3, 4, 5), -1, np.int16)
    for place, block in header.blocks():
        assert block.nbytes <= max(block_bytes, 6)
        assert (whole[place] == -1).all()
        whole[place] = block
    np.testing.assert_array_equal(whole, np.arange(60).reshape((3, 4, 5), order="F"))


def test_an_unreadable_file(tmp_path, monkeypatch):
    path = write(tmp_path / "v.nii", nifti_bytes())

    def denied(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", denied)
    refused(path, "Permission denied")


def read_or_refuse(path):
    for reader in (nifti.read_image, nifti.read_labels):
        try:
            volume = reader(path)
        except InputError as error:
            assert str(path) in str(error)
        else:
            assert all(0 < side < np.inf for side in volume.spacing_mm)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.integers(0, 471), st.integers(0, 255)), max_size=12),
    keep=st.integers(0, 472),
    packed=st.booleans(),
)
def test_any_edited_file_is_read_or_refused(tmp_path, edits, keep, packed):
    data = bytearray(nifti_bytes())
    for place, value in edits:
        data[place] = value
    data = bytes(data[: max(keep, 400)])
    read_or_refuse(write(tmp_path / "v.nii", gzip.compress(data, 1) if packed else data))


@pytest.mark.long
def test_a_hundred_thousand_damaged_files(tmp_path):
    """Random edits of header fields, voxels and packed bytes: no crash, no hang, no unbounded memory."""
    rng = np.random.default_rng(0)
    seeds = [nifti_bytes(dtype=dtype) for dtype in (np.int16, np.uint8, np.float32, np.float64)]
    interesting = np.array([0, 1, 2, 3, 127, 128, 255], np.uint8)
    path = tmp_path / "v.nii"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(100_000):
        data = np.frombuffer(seeds[number % 4], np.uint8).copy()
        for _ in range(rng.integers(1, 9)):
            place = int(rng.integers(len(data) if rng.random() < 0.3 else 352))
            data[place] = rng.choice(interesting) if rng.random() < 0.5 else rng.integers(256)
        out = data.tobytes()
        if rng.random() < 0.3:
            packed = np.frombuffer(gzip.compress(out, 1), np.uint8).copy()
            if rng.random() < 0.5:
                packed[rng.integers(len(packed))] ^= 1 << rng.integers(8)
            out = packed.tobytes()
        if rng.random() < 0.2:
            out = out[: rng.integers(len(out) + 1)]
        path.write_bytes(out)
        read_or_refuse(path)
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kb < 100_000
