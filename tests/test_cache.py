"""The cache: where it lies, and what is said where it cannot be written to, as in a container without a home."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jacsup.cli import main as cli
from jacsup.config import MNIST, Digits, Faces
from jacsup.data import load_dataset
from jacsup.data.cache import cache_folder, require_writable
from jacsup.data.prepare import ImageSource, prepare_once
from jacsup.metrics import attribute_judge, swap

FACES = Faces(size=32, num_images=100)


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache below a file, where not even root can write."""
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("JACSUP_CACHE", str(tmp_path / "file" / "cache"))
    return tmp_path / "file" / "cache"


def prepare(folder: Path) -> object:
    images = folder / "images"
    images.mkdir()
    for number in range(4):
        Image.fromarray(np.full((16, 16, 3), number, np.uint8)).save(images / f"{number}.png")
    return prepare_once(ImageSource(images), 16, cache_folder())


@pytest.mark.parametrize(
    "work",
    [
        lambda _: load_dataset(FACES),
        lambda _: load_dataset(MNIST()),
        lambda _: swap.get_judge(load_dataset(Digits())),
        prepare,
    ],
    ids=["drawn faces", "download", "judge", "prepared images"],
)
def test_a_cache_that_cannot_be_written_to_is_named_with_its_variable(
    work: Callable[[Path], object], closed: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        ValueError, match=r"\Athe cache .* cannot be written to \(Not a directory\); set JACSUP_CACHE"
    ) as it:
        work(tmp_path)
    assert str(closed) in str(it.value)


def test_the_judge_of_attributes_asks_before_it_learns(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACSUP_CACHE", str(closed.parent.parent / "other"))
    data = load_dataset(FACES)
    monkeypatch.setenv("JACSUP_CACHE", str(closed))
    monkeypatch.setattr(attribute_judge, "_fit", lambda *_: pytest.fail("it learned first"))
    with pytest.raises(ValueError, match="set JACSUP_CACHE"):
        attribute_judge.get_attribute_judge(data)


def test_reading_is_enough_where_all_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACSUP_CACHE", str(tmp_path))
    images = load_dataset(FACES).train.images
    monkeypatch.setattr("jacsup.data.drawn.faces.require_writable", lambda _: pytest.fail("nothing is to be written"))
    assert (load_dataset(FACES).train.images == images).all()


def test_there_may_be_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("JACSUP_CACHE")
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(
        ValueError, match=r"^there is no home folder for the cache; set JACSUP_CACHE to a writable folder"
    ):
        cache_folder()


def test_the_check_leaves_nothing_behind(tmp_path: Path) -> None:
    require_writable(tmp_path / "a" / "b")
    assert not list((tmp_path / "a" / "b").iterdir())


def test_the_command_says_it_in_one_line(
    closed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["jacsup", "data", "download", "mnist"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    told = capsys.readouterr().err
    assert stopped.value.code == 2 and told.count("\n") == 1
    assert f"{closed / 'mnist'} cannot be written to" in told and "JACSUP_CACHE" in told
