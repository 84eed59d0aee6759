"""A study: which versions of which pictures people are to rate, in a folder of its own.

study.json     what is compared, and the invitation's token; written last, mode 600
pictures/      the rendered versions: IMAGE-VERSION.png, by their numbers
ratings.sqlite raters and their ratings, mode 600
results.json, ratings.csv, mos.png, results.md: written by `mos.py results`
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from jobs.runtime.errors import EXIT_BAD_DATA, JobError, MissingDataError
from jobs.runtime.files import PRIVATE, write_atomically

STUDY_FILE = "study.json"
PICTURES = "pictures"
NEAREST = "nearest"
ORIGINAL = "original"
REFERENCES = {NEAREST: 1, ORIGINAL: 5}
"""What the calibration shows, and the ratings that these stand for (SRGAN paper, section 3.3)."""


class DamagedStudyError(JobError):
    """A file of the study is not what it should be."""

    exit_code = EXIT_BAD_DATA


class StudyImage(BaseModel):
    """A picture that is rated in several versions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    set: str
    """The image set: the name of its folder."""
    name: str


class Measured(BaseModel):
    """How near a rendered picture is to its original, to compare measure and opinion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    psnr_y: float
    """PSNR in dB on the Y channel; 100 for equal pictures."""
    lpips: float | None
    """Less is better; None where it was not measured."""


class Study(BaseModel):
    """What is compared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token: str
    """Whoever knows it may rate."""
    created: str
    """ISO 8601."""
    methods: list[str]
    """The names of what is compared, as results call them."""
    sources: list[str]
    """What the user called them: run folders, model files, "bicubic", "original"."""
    folders: list[str]
    """Folders of the images."""
    images: list[StudyImage]
    """At least three."""
    calibration: list[int]
    """Numbers of the two images that the calibration shows."""
    measured: list[dict[str, Measured]] = []
    """For each image, by method; empty in studies of before it was measured."""

    @model_validator(mode="after")
    def _measured_is_whole(self) -> Study:
        expected = [set(self.methods)] * len(self.images)
        if self.measured and [set(by_method) for by_method in self.measured] != expected:
            raise ValueError("measured does not have each method of each image")
        return self

    @property
    def versions(self) -> list[str]:
        """All rendered versions of an image: the methods and the references."""
        return [*self.methods, *(name for name in REFERENCES if name not in self.methods)]

    def picture(self, folder: Path, image: int, version: str) -> Path:
        """The file of a version of an image."""
        return folder / PICTURES / f"{image:04d}-{self.versions.index(version):02d}.png"


def read_study(folder: Path) -> Study:
    """The study in a folder.

    Raises:
        MissingDataError: there is none.
        DamagedStudyError: study.json is no study's.
    """
    path = folder / STUDY_FILE
    try:
        return Study.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingDataError(
            f"--study {folder}: no study here; make one with: python scripts/mos.py prepare"
        ) from error
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise DamagedStudyError(f"{path}: not the file of a study ({reason})") from error


def write_study(folder: Path, study: Study) -> None:
    """Store a study in one atomic step, for its owner's eyes alone."""
    write_atomically(folder / STUDY_FILE, study.model_dump_json(indent=2) + "\n", PRIVATE)
