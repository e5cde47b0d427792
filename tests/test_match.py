from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from jacsup.data.match import rows_of
from jacsup.data.tables import Table


def table(*names: str) -> Table:
    return Table("list.csv", [*names], ("a",), np.arange(len(names), dtype=np.float32)[:, None])


@pytest.mark.parametrize(
    ("names", "images"),
    [
        (["a.jpg", "b.jpg"], ["b.jpg", "a.jpg"]),
        (["a.jpg", "b.jpg"], ["one/b.jpg", "two/a.jpg"]),
        (["a", "b"], ["b.PNG", "a.jpg"]),
        (["a.jpg", "b.jpg"], ["sub/b.png", "sub/a.png"]),
        (["one/a", "two/a"], ["two/a.jpg", "one/a.jpg"]),
        (["a.png", "a.jpg"], ["a.jpg", "a.png"]),
        (["v1.1", "v1.2"], ["v1.2.jpg", "v1.1.jpg"]),
        (["faces\\a.jpg", "faces\\b.jpg"], ["b.jpg", "a.jpg"]),
        ([r"C:\data\one\a.jpg", r"C:\data\two\a.jpg"], ["two/a.jpg", "one/a.jpg"]),
        (["./a.jpg", "./b.jpg"], ["b.jpg", "a.jpg"]),
        (["data/faces/a.jpg", "/data/faces/b.jpg"], ["b.jpg", "a.jpg"]),
        (["data/one/a.jpg", "data/two/a.jpg"], ["faces/two/a.jpg", "faces/one/a.jpg"]),
        (["IMG_1.JPG", "IMG_2.JPG"], ["img_2.jpg", "img_1.jpg"]),
        (["a.jpg", "A.jpg"], ["A.jpg", "a.jpg"]),
        (["a.jpg", "one/a.jpg"], ["one/a.jpg", "two/a.jpg"]),
        ([unicodedata.normalize("NFD", "Zoë.jpg"), "b.jpg"], ["b.jpg", unicodedata.normalize("NFC", "Zoë.jpg")]),
    ],
)
def test_rows_are_found_by_the_end_of_their_path(names: list[str], images: list[str]) -> None:
    np.testing.assert_array_equal(rows_of(table(*names), images), [1, 0])


@pytest.mark.parametrize(
    ("names", "images", "rows"),
    [
        (["a", "b"], ["a.jpg", "c.jpg"], [0, -1]),
        (["x", "b", "y"], ["b.jpg"], [1]),
        # The better image keeps the row, whichever comes first.
        (["one/a.jpg"], ["one/a.jpg", "two/a.jpg"], [0, -1]),
        (["one/a.jpg"], ["a.jpg", "one/a.jpg"], [-1, 0]),
    ],
)
def test_an_image_without_a_row(names: list[str], images: list[str], rows: list[int]) -> None:
    np.testing.assert_array_equal(rows_of(table(*names), images), rows)


@pytest.mark.parametrize(
    ("names", "images", "problem"),
    [
        (["a", "b", "a"], ["a.jpg", "b.jpg"], "has several rows for 'a'; keep only one"),
        (["a.jpg", "./a.jpg"], ["a.jpg"], "has several rows for './a.jpg'; keep only one"),
        (["a", "b"], ["one/a.jpg", "two/a.jpg", "b.jpg"], "row 'a' fits both one/a.jpg and two/a.jpg; use full paths"),
        (["one/a.jpg", "two/a.jpg"], ["a.jpg"], "the rows one/a.jpg and two/a.jpg both fit a.jpg; use full paths"),
        (["a.png", "a.gif"], ["a.jpg"], "the rows a.png and a.gif both fit a.jpg; use full paths"),
        (
            ["1", "2", "3", "4"],
            ["a.jpg", "b.jpg"],
            "has no row for any of the images: the images are called a.jpg, b.jpg, the rows 1, 2, 3; the first column",
        ),
    ],
)
def test_a_table_that_does_not_match_is_refused(names: list[str], images: list[str], problem: str) -> None:
    with pytest.raises(ValueError, match=r"\Alist\.csv") as caught:
        rows_of(table(*names), images)
    assert problem in str(caught.value)
