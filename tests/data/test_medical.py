"""Slices of volumes and DICOM pictures: turned as radiologists look at them, scaled as their files say."""

import io as streams
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fuse.data import io, medical
from fuse.data.own import own
from fuse.errors import InputError

nibabel = pytest.importorskip("nibabel")
pydicom = pytest.importorskip("pydicom")


def volume(path: Path, values: np.ndarray, affine: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine), path)
    return path


def dicom(pixels: np.ndarray, **tags: Any) -> bytes:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    colour = pixels.ndim == 3 and pixels.shape[2] == 3
    made.Rows, made.Columns = pixels.shape[:2]
    made.SamplesPerPixel = 3 if colour else 1
    made.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        made.PlanarConfiguration = 0
    made.BitsAllocated = made.BitsStored = 8 * pixels.dtype.itemsize
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    made.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(made, name, value)
    made.HighBit = made.BitsStored - 1
    stream = streams.BytesIO()
    made.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def test_a_slice_shows_the_front_above_and_the_patients_right_at_the_left(tmp_path: Path) -> None:
    values = np.zeros((4, 5, 3), np.float32)  # axes to the right, front and head
    values[3, 4, 1] = 100  # right front
    values[0, 0, 1] = 50  # left back
    place = volume(tmp_path / "a.nii.gz", values) / "001"
    shown = io.read(place)
    assert shown.shape == (1, 5, 4)
    assert shown.dtype == torch.uint16
    assert shown[0, 0, 0] == 65535
    assert shown[0, 4, 3] == 32768
    assert int((shown.int() > 0).sum()) == 2


def test_a_volume_stored_along_other_axes_is_turned(tmp_path: Path) -> None:
    values = np.zeros((4, 5, 3), np.float32)
    values[0, 4, 1] = 1
    flipped = np.diag([-1.0, 1, 1, 1])  # the first axis points to the patient's left
    assert io.read(volume(tmp_path / "a.nii", values, flipped) / "001")[0, 0, 0] == 65535


def test_the_scale_is_that_of_the_whole_volume(tmp_path: Path) -> None:
    values = np.zeros((3, 3, 2), np.float32)
    values[..., 0], values[..., 1] = -10, 30
    values[0, 0, 0] = np.nan
    path = volume(tmp_path / "a.nii.gz", values)
    assert io.read(path / "000").unique().tolist() == [0]
    assert io.read(path / "001").unique().tolist() == [65535]
    flat = volume(tmp_path / "flat.nii.gz", np.full((3, 3, 1), 7, np.float32))
    assert io.read(flat / "000").unique().tolist() == [0]


def test_volumes_are_scenes_slice_by_slice(tmp_path: Path) -> None:
    for role in ("ct", "mri"):
        volume(tmp_path / role / "case1.nii.gz", np.random.default_rng(0).random((6, 5, 3), np.float32))
    assert list(io.pictures(tmp_path / "ct")) == ["case1-000", "case1-001", "case1-002"]
    data = own(str(tmp_path), ["ct", "mri"], task="medical")
    assert data.stems("all") == ["case1-000", "case1-001", "case1-002"]
    assert next(data.samples("all")).sources[0].shape == (1, 1, 5, 6)
    assert len({data.identity("train"), data.identity("val")}) == 2


def test_what_is_no_volume_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"a\.nii\.gz cannot be read as a NIfTI volume"):
        io.pictures(tmp_path)
    with pytest.raises(InputError, match="three axes"):
        io.read(volume(tmp_path / "b.nii.gz", np.zeros((2, 2, 2, 2), np.float32)) / "000")


def test_a_window_is_stretched(tmp_path: Path) -> None:
    stored = np.array([[0, 1000, 1040, 1080, 4000]], np.uint16)
    data = dicom(stored, RescaleSlope=1, RescaleIntercept=-1000, WindowCenter=40.5, WindowWidth=81)
    (tmp_path / "a.dcm").write_bytes(data)
    # Hounsfield -1000, 0, 40, 80, 3000 in the window from 0 to 80
    assert io.read(tmp_path / "a.dcm").tolist() == [[[0, 0, 32768, 65535, 65535]]]
    two = dicom(stored, RescaleIntercept=-1000, RescaleSlope=1, WindowCenter=[40.5, 0], WindowWidth=[81, 9])
    assert torch.equal(medical.dicom(two, "two"), io.read(tmp_path / "a.dcm"))


def test_without_a_window_the_stored_bits_are_the_range() -> None:
    values = np.array([[0, 2048, 4095]], np.uint16)
    assert medical.dicom(dicom(values, BitsStored=12), "a").tolist() == [[[0, 32776, 65535]]]
    signed = np.array([[-32768, 0, 32767]], np.int16)
    assert medical.dicom(dicom(signed), "a").tolist() == [[[0, 32768, 65535]]]
    inverted = dicom(values, BitsStored=12, PhotometricInterpretation="MONOCHROME1")
    assert medical.dicom(inverted, "a").tolist() == [[[65535, 32759, 0]]]


def test_colour_stays_as_stored() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert torch.equal(medical.dicom(dicom(pixels), "a"), torch.from_numpy(pixels.transpose(2, 0, 1).copy()))


def test_what_is_no_single_picture_is_refused() -> None:
    with pytest.raises(InputError, match=r"a\.dcm cannot be read as a DICOM picture"):
        medical.dicom(b"nothing", "a.dcm")
    frames = dicom(np.zeros((2, 2), np.uint8), NumberOfFrames=2, PixelData=bytes(8))
    with pytest.raises(InputError, match="has 2 frames"):
        medical.dicom(frames, "a.dcm")


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError, match=r"needs pydicom: pip install 'fuse-imaging\[medical\]'"):
        medical.dicom(b"", "a.dcm")


def test_endings() -> None:
    assert medical.suffix(Path("a/b.NII.GZ")) == ".nii.gz"
    assert [medical.stem(Path(p)) for p in ("x/b.nii.gz", "b.nii", "c.d.dcm", "e.png")] == ["b", "b", "c.d", "e"]
    assert io.is_picture("a.DCM")
    assert not io.is_picture("a.gz")
