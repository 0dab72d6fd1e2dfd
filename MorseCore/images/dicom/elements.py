"""The elements of a DICOM data set: each is checked when somebody asks for it."""

import math
from collections.abc import Mapping
from typing import Any

from MorseCore.errors import ImageError
from MorseCore.system.files import printable

__all__ = ["PIXELS", "TAGS", "Elements"]

PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
"""Tags of pixels as float32, as float64 and as integers."""
TAGS: Mapping[str, int] = {
    "SpecificCharacterSet": 0x00080005, "ImageType": 0x00080008, "SOPClassUID": 0x00080016,
    "SOPInstanceUID": 0x00080018, "AcquisitionDateTime": 0x0008002A, "AcquisitionTime": 0x00080032,
    "ContentTime": 0x00080033, "Modality": 0x00080060, "SeriesDescription": 0x0008103E,
    "ComplexImageComponent": 0x00089208, "PatientID": 0x00100020, "SequenceName": 0x00180024,
    "SliceThickness": 0x00180050, "KVP": 0x00180060, "RepetitionTime": 0x00180080,
    "EchoTime": 0x00180081, "InversionTime": 0x00180082, "EchoNumbers": 0x00180086,
    "SpacingBetweenSlices": 0x00180088, "TriggerTime": 0x00181060,
    "ImagerPixelSpacing": 0x00181164, "ConvolutionKernel": 0x00181210, "FlipAngle": 0x00181314,
    "NominalScannedPixelSpacing": 0x00182010, "DiffusionBValue": 0x00189087,
    "DiffusionGradientOrientation": 0x00189089, "EffectiveEchoTime": 0x00189082,
    "FrameType": 0x00089007, "StudyInstanceUID": 0x0020000D, "SeriesInstanceUID": 0x0020000E,
    "SeriesNumber": 0x00200011,
    "AcquisitionNumber": 0x00200012, "InstanceNumber": 0x00200013,
    "ImagePositionPatient": 0x00200032, "ImageOrientationPatient": 0x00200037,
    "FrameOfReferenceUID": 0x00200052, "TemporalPositionIdentifier": 0x00200100,
    "FrameAcquisitionNumber": 0x00209156, "StackID": 0x00209056,
    "TemporalPositionIndex": 0x00209128, "DimensionIndexValues": 0x00209157,
    "NominalPercentageOfCardiacPhase": 0x00209241, "SamplesPerPixel": 0x00280002,
    "PhotometricInterpretation": 0x00280004, "NumberOfFrames": 0x00280008, "Rows": 0x00280010,
    "Columns": 0x00280011, "PixelSpacing": 0x00280030, "BitsAllocated": 0x00280100,
    "BitsStored": 0x00280101, "HighBit": 0x00280102, "PixelRepresentation": 0x00280103,
    "RescaleIntercept": 0x00281052, "RescaleSlope": 0x00281053, "ModalityLUTSequence": 0x00283000,
    "DetectorInformationSequence": 0x00540022, "NumberOfSlices": 0x00540081,
    "FrameReferenceTime": 0x00541300, "SharedFunctionalGroupsSequence": 0x52009229,
    "PerFrameFunctionalGroupsSequence": 0x52009230, "FrameContentSequence": 0x00209111,
    "PlanePositionSequence": 0x00209113, "PlaneOrientationSequence": 0x00209116,
    "PixelMeasuresSequence": 0x00289110, "PixelValueTransformationSequence": 0x00289145,
    "MREchoSequence": 0x00189114, "MRDiffusionSequence": 0x00189117,
    "MRImageFrameTypeSequence": 0x00189226, "CTImageFrameTypeSequence": 0x00189329,
    "CardiacSynchronizationSequence": 0x00189118, "CTXRayDetailsSequence": 0x00189325,
    "CTReconstructionSequence": 0x00189314,
}  # fmt: skip
"""The elements that reading asks for; others are skipped, which is faster."""
_SHOWN = 40  # characters of a value that a message repeats


class Elements:
    """A data set, or an item of a sequence in it.

    :param data: pydicom's data set.
    :param name: the file's, for messages.
    """

    def __init__(self, data: Any, name: str) -> None:
        self._data, self.name = data, name

    def has(self, keyword: str) -> bool:
        """Whether an element is there, with or without a value."""
        return TAGS[keyword] in self._data

    def text(self, keyword: str) -> str:
        """What an element says, several values with backslashes between; empty if it is absent."""
        item = self._data.get_item(TAGS[keyword])
        value = None if item is None else item.value
        if value is None:
            return ""
        if isinstance(value, bytes):
            return value.decode("latin-1").strip(" \0\r\n\t")
        if isinstance(value, str):
            return value.strip(" \0\r\n\t")
        try:
            return "\\".join(str(part) for part in value)
        except TypeError:  # one number
            return str(value)

    def label(self, keyword: str) -> str:
        """The same for an element of any type, binary numbers too."""
        try:
            value = self._data[TAGS[keyword]].value
            is_one = isinstance(value, str) or not hasattr(value, "__iter__")
            return str(value) if is_one else "\\".join(map(str, value))
        except Exception:  # absent, or not what its type promises
            return ""

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Decimal numbers; None if the element is absent or empty.

        :raises ImageError: if they are others than ``count`` finite numbers.
        """
        text = self.text(keyword)
        if not text:
            return None
        try:
            values = tuple(float(word) for word in text.split("\\"))
        except ValueError:
            values = ()
        if len(values) != count or not all(map(math.isfinite, values)):
            wanted = "a number is" if count == 1 else f"{count} numbers are"
            raise ImageError(
                f"{self.name} says '{_short(text)}' for its {keyword}; {wanted} expected."
            )
        return values

    def number(self, keyword: str) -> float | None:
        """One decimal number; None if the element is absent or empty."""
        values = self.numbers(keyword, 1)
        return None if values is None else values[0]

    def whole(self, keyword: str) -> int | None:
        """A whole number that is stored in binary; None if the element is absent or empty.

        :raises ImageError: if it is something else.
        """
        item = self._data.get_item(TAGS[keyword])
        value = None if item is None else item.value
        if value is None or value == b"":
            return None
        if isinstance(value, bytes) and len(value) in (2, 4):
            return int.from_bytes(value, "little" if item.is_little_endian else "big")
        if isinstance(value, int):
            return int(value)
        raise ImageError(f"{self.name} is damaged: its {keyword} is no number; copy it again.")

    def items(self, keyword: str) -> list["Elements"]:
        """The items of a sequence; none if it is absent.

        :raises ImageError: if it is no sequence.
        """
        if TAGS[keyword] not in self._data:
            return []
        try:
            return [Elements(item, self.name) for item in self._data[TAGS[keyword]].value]
        except Exception as error:  # a garbled sequence fails in many ways
            raise ImageError(
                f"{self.name} is damaged: its {keyword} cannot be read; copy it again."
            ) from error

    def first(self, keyword: str) -> "Elements | None":
        """The first item of a sequence; None if it is absent or empty."""
        items = self.items(keyword)
        return items[0] if items else None

    def is_little_endian(self) -> bool:
        """Whether binary numbers begin with their lowest byte, as nearly always."""
        item = self._data.get_item(TAGS["Rows"])
        return bool(getattr(item, "is_little_endian", True))

    def description(self) -> str:
        """What a person called the series, in the file's own character set."""
        try:
            text = str(self._data.get("SeriesDescription", "") or "")
        except Exception:  # letters of another character set than the file says
            text = self.text("SeriesDescription")
        return _short(text)


def _short(text: str) -> str:
    """A value as one line for a message."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return printable(words if len(words) <= _SHOWN else words[: _SHOWN - 1] + "…")
