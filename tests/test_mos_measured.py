"""PSNR and LPIPS of a study's pictures beside what people say of them."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image
from small_study import OPINION, make_study
from srgan_samples import write_lpips

from mos_study.order import trials_for_a_rater
from mos_study.output import as_text
from mos_study.results import analyse
from mos_study.store import StoredTrial
from mos_study.study import DamagedStudyError, Measured, Study, read_study, write_study
from srgan.lpips import find_lpips
from srgan.metrics import score


def rated(study: Study) -> list[StoredTrial]:
    """All that one rater with good eyes says."""
    trials = trials_for_a_rater(study, Random(1))
    return [
        StoredTrial(1, "one", position, *trial, OPINION[trial.version], "now")
        for position, trial in enumerate(trials)
    ]


def test_pictures_are_measured_beside_what_people_say(tmp_path: Path) -> None:
    weights = write_lpips(tmp_path / "lpips.safetensors")
    make_study(tmp_path, options=("--lpips-weights", weights))
    study = read_study(tmp_path)
    lpips = find_lpips(str(weights))
    assert [set(by_method) for by_method in study.measured] == [set(study.methods)] * 5
    for method in ("default", "bicubic"):
        shown, original = (
            np.asarray(Image.open(study.picture(tmp_path, 3, version)))
            for version in (method, "original")
        )
        expected = score(shown, original, lpips)
        assert study.measured[3][method].psnr_y == expected.psnr_y
        assert study.measured[3][method].lpips == pytest.approx(expected.lpips, rel=1e-4)
    # JSON knows no infinity.
    assert study.measured[3]["original"] == Measured(psnr_y=100.0, lpips=0.0)
    rows = rated(study)
    scores = {(one.set, one.method): one for one in analyse(study, rows).scores}
    near = [study.measured[number]["bicubic"] for number in (0, 1)]
    assert scores["near", "bicubic"].psnr == np.mean([one.psnr_y for one in near])
    assert scores["near", "bicubic"].lpips == np.mean([one.lpips for one in near])
    text = as_text(analyse(study, rows))
    assert f"| {scores['all', 'default'].psnr:.2f} dB " in text
    assert f"| {scores['all', 'default'].lpips:.3f} " in text


def test_a_study_of_before_goes_on_and_can_be_measured(tmp_path: Path) -> None:
    make_study(tmp_path)
    whole = read_study(tmp_path)
    write_study(tmp_path, whole.model_copy(update={"measured": []}))
    old = read_study(tmp_path)
    rows = rated(old)
    assert {(one.psnr, one.lpips) for one in analyse(old, rows).scores} == {(None, None)}
    assert " dB" not in as_text(analyse(old, rows))
    make_study(tmp_path)
    assert read_study(tmp_path) == whole
    # As it was before its weights were there.
    unmeasured = [
        {method: one.model_copy(update={"lpips": None}) for method, one in by_method.items()}
        for by_method in whole.measured
    ]
    write_study(tmp_path, whole.model_copy(update={"measured": unmeasured}))
    weights = write_lpips(tmp_path / "lpips.safetensors")
    make_study(tmp_path, options=("--lpips-weights", weights))
    assert read_study(tmp_path).measured[0]["bicubic"].lpips > 0
    assert read_study(tmp_path).token == whole.token


def test_measures_that_do_not_fit_the_study(tmp_path: Path) -> None:
    make_study(tmp_path)
    whole = read_study(tmp_path)
    without = [{"bicubic": by_method["bicubic"]} for by_method in whole.measured]
    for measured in (whole.measured[1:], without):
        write_study(tmp_path, whole.model_copy(update={"measured": measured}))
        with pytest.raises(DamagedStudyError, match="not the file of a study"):
            read_study(tmp_path)
