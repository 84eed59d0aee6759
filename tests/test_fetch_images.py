"""fetch_data.py with folders of pictures: counted, checked, and from sources not to be trusted."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT
from PIL import Image
from test_fetch_data import fetch

SHARED = ROOT.parent / "shared" / "data"
OTHER_SCIKIT_IMAGE = "Metadata-Version: 2.1\nName: scikit-image\nVersion: 0.0.1\n"


def names_of(dataset: str) -> list[str]:
    lines = (ROOT / "data" / "checksums" / f"{dataset}.md5").read_text().splitlines()
    return [line.split("  ", 1)[1] for line in lines]


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ten pictures of the sample, fetched."""
    folder = tmp_path_factory.mktemp("sample")
    done = fetch("sample", "--to", folder)
    if done.returncode == 69:
        pytest.skip(f"the sample cannot be fetched here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def zipped(sample: Path, tmp_path: Path) -> Path:
    """A zip file with all of the sample, as another person might pack it."""
    path = tmp_path / "sample.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names_of("sample"):
            archive.write(sample / name, f"pictures/{Path(name).name}")
    return path


def without(path: Path, base: str) -> zipfile.ZipFile:
    """Pack the zip file at `path` again without one member; open for more."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist() if Path(name).name != base}
    archive = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
    for name, content in members.items():
        archive.writestr(name, content)
    return archive


def test_the_sample_is_counted_and_opens(sample: Path) -> None:
    assert files_below(sample) == set(names_of("sample"))
    assert len(list((sample / "train").iterdir())) == 8
    assert len(list((sample / "test").iterdir())) == 2
    for name in names_of("sample"):
        with Image.open(sample / name) as image:
            assert min(image.convert("RGB").size) >= 300


def test_a_second_call_does_nothing(sample: Path) -> None:
    times = {name: (sample / name).stat().st_mtime_ns for name in names_of("sample")}
    again = fetch("sample", "--to", sample, "--source", "/nowhere")
    assert again.returncode == 0
    assert again.stderr == f"{sample}: all 10 files are there and whole\n"
    assert {name: (sample / name).stat().st_mtime_ns for name in times} == times


def test_a_folder_that_may_not_be_written(sample: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    done = fetch("sample", "--to", tmp_path / "new" / "er", "--source", sample)
    tmp_path.chmod(0o755)
    assert done.returncode == 1
    reason = "Permission denied; name a folder of your own with --to"
    assert done.stderr == f"fetch_data: error: cannot write {tmp_path}/new: {reason}\n"


def test_another_version_of_the_package_is_not_taken(tmp_path: Path, sample: Path) -> None:
    other = tmp_path / "packages" / "scikit_image-0.0.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text(OTHER_SCIKIT_IMAGE)
    target = tmp_path / "target"
    done = fetch("sample", "--to", target, "--source", "wheel", PYTHONPATH=str(other.parent))
    if done.returncode == 69:
        pytest.skip(f"the wheel cannot be downloaded here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert "downloading the package" in done.stderr
    assert files_below(target) == files_below(sample)


def test_only_what_is_missing_or_damaged_is_fetched_and_named(sample: Path, tmp_path: Path) -> None:
    target, source = tmp_path / "target", tmp_path / "source"
    shutil.copytree(sample, target)
    (target / "train" / "brick.png").unlink()
    (target / "test" / "chelsea.png").write_bytes(b"damaged")
    (source / "below").mkdir(parents=True)
    shutil.copy(sample / "train" / "brick.png", source)
    shutil.copy(sample / "test" / "chelsea.png", source / "below")
    done = fetch("sample", "--to", target, "--source", source)
    assert done.returncode == 0, done.stderr
    assert "2 of 10 files missing or damaged: train/brick.png, test/chelsea.png" in done.stderr
    assert (target / "test" / "chelsea.png").read_bytes() == (
        source / "below" / "chelsea.png"
    ).read_bytes()


def test_files_that_the_source_lacks_are_named(sample: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(sample, source)
    (source / "train" / "brick.png").unlink()
    done = fetch("sample", "--to", tmp_path / "target", "--source", source)
    assert done.returncode == 66
    assert "1 of 10 files missing: train/brick.png" in done.stderr.splitlines()[-1]
    assert len(files_below(tmp_path / "target")) == 9


def test_a_zip_file_lands_by_base_names_only(sample: Path, zipped: Path, tmp_path: Path) -> None:
    with without(zipped, "brick.png") as archive:
        # The same name twice: small pictures beside the large ones.
        archive.writestr("small/brick.png", b"small")
        archive.write(sample / "train" / "brick.png", "../../brick.png")
        archive.writestr("../../evil.bmp", b"evil")
        archive.writestr(str(tmp_path / "evil.bmp"), b"evil")
    before = files_below(tmp_path)
    target = tmp_path / "deep" / "down" / "target"
    done = fetch("sample", "--to", target, "--source", zipped)
    assert done.returncode == 0, done.stderr
    assert files_below(target) == set(names_of("sample"))
    assert files_below(tmp_path) - before == {f"deep/down/target/{n}" for n in names_of("sample")}


@pytest.mark.parametrize("damage", ["content", "bytes", "method"])
def test_a_damaged_member_is_named(sample: Path, zipped: Path, tmp_path: Path, damage: str) -> None:
    content = (sample / "train" / "brick.png").read_bytes()
    with without(zipped, "brick.png") as archive:
        if damage == "content":
            archive.writestr("brick.png", content[:-100])
        elif damage == "bytes":
            archive.writestr("brick.png", content, zipfile.ZIP_STORED)
        else:
            archive.writestr("brick.png", content, zipfile.ZIP_LZMA)
    if damage == "bytes":
        packed = zipped.read_bytes()
        zipped.write_bytes(packed.replace(content[-100:], bytes(100)))
    done = fetch("sample", "--to", tmp_path / "target", "--source", zipped)
    assert done.returncode == 65
    assert "1 of 10 files damaged" in done.stderr.splitlines()[-1]
    assert "brick.png" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert files_below(tmp_path / "target") == set(names_of("sample")) - {"train/brick.png"}


@pytest.mark.parametrize("honest", [True, False], ids=["honest", "lying"])
def test_a_zip_bomb_is_refused(zipped: Path, tmp_path: Path, honest: bool) -> None:
    with without(zipped, "brick.png") as archive:
        with archive.open("brick.png", "w", force_zip64=True) as member:
            for _ in range(300):
                member.write(bytes(1 << 20))
        if not honest:
            archive.getinfo("brick.png").file_size = 100_000
    assert zipped.stat().st_size < 1 << 23
    done = fetch("sample", "--to", tmp_path / "target", "--source", zipped)
    assert done.returncode == 65
    assert "brick.png" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "target" / "train" / "brick.png").exists()


@pytest.mark.parametrize("content", [b"", b"no zip file\n" * 100, b"PK\x03\x04" + bytes(50)])
def test_a_file_that_is_no_zip_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "set5.zip").write_bytes(content)
    done = fetch("set5", "--to", tmp_path / "target", "--source", tmp_path / "set5.zip")
    assert done.returncode == 65
    assert len(done.stderr.splitlines()) == 1
    assert str(tmp_path / "set5.zip") in done.stderr


def test_a_zip_file_cut_off_is_refused(zipped: Path, tmp_path: Path) -> None:
    zipped.write_bytes(zipped.read_bytes()[:-1000])
    done = fetch("sample", "--to", tmp_path / "target", "--source", zipped)
    assert done.returncode == 65
    assert len(done.stderr.splitlines()) == 1


def test_a_zip_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = fetch("set5", "--to", tmp_path / "target", "--source", tmp_path / "nowhere.zip")
    assert done.returncode == 66
    assert len(done.stderr.splitlines()) == 1
    assert "nowhere.zip" in done.stderr


@pytest.mark.parametrize("dataset", ["set5", "set14"])
def test_without_a_download_a_source_is_asked_for(tmp_path: Path, dataset: str) -> None:
    done = fetch(dataset, "--to", tmp_path / "target")
    assert done.returncode == 69
    assert len(done.stderr.splitlines()) == 1
    assert "--source FILE.zip or --source DIR" in done.stderr
    assert not (tmp_path / "target").exists()


def test_general_100_out_of_reach_names_its_page(tmp_path: Path) -> None:
    proxy = "http://127.0.0.1:9"
    done = fetch("general-100", "--to", tmp_path, https_proxy=proxy, HTTPS_PROXY=proxy)
    assert done.returncode == 69
    assert len(done.stderr.splitlines()) == 1
    assert "FSRCNN.html and give its files by --source FILE.zip" in done.stderr


@pytest.mark.parametrize(
    ("dataset", "folder", "count"),
    [("general-100", "General-100", 100), ("set5", "Set5", 5), ("set14", "Set14", 14)],
)
def test_the_real_pictures(tmp_path: Path, dataset: str, folder: str, count: int) -> None:
    if not (SHARED / folder).is_dir():
        pytest.skip(f"{folder} is not ours to redistribute and does not lie beside the checkout")
    assert len(names_of(dataset)) == count
    done = fetch(dataset, "--to", tmp_path / "target", "--source", SHARED / folder)
    assert done.returncode == 0, done.stderr
    assert f"all {count} files" in done.stderr
    for name in names_of(dataset):
        with Image.open(tmp_path / "target" / name) as image:
            image.load()
