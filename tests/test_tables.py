from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from jacsup.data.attributes import learnable
from jacsup.data.tables import Table, read_partition, read_table, rows_of

nan = float("nan")


def written(folder: Path, content: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def table(*names: str) -> Table:
    return Table("list.csv", [*names], ("a",), np.arange(len(names), dtype=np.float32)[:, None])


def test_celebas_format_with_its_uneven_spaces(tmp_path: Path) -> None:
    path = written(tmp_path, "3\r\nBald  Male \r\n1.jpg -1  1\r\n2.jpg  1 -1\r\n3.jpg -1 -1  \r\n\r\n")
    found = read_table(path)
    assert (found.source, found.names, found.columns) == (str(path), ["1.jpg", "2.jpg", "3.jpg"], ("Bald", "Male"))
    np.testing.assert_array_equal(found.values, np.array([[-1, 1], [1, -1], [-1, -1]], np.float32), strict=True)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "with byte order mark"])
def test_csv_of_all_kinds_of_columns(tmp_path: Path, delimiter: str, mark: str) -> None:
    rows = [
        ["file", "zero_one", "sign", "bool", "age", "gaps"],
        ["a/1.jpg", "0", "-1", "True", "31", ""],
        ['"2, or; so.jpg"', "1", "1", "false", "-2.5e1", "1"],
        ["3.jpg", "1", "-1", "True", "0", "NaN"],
        ["4.jpg", " 0", "1", "False", "1", "0"],
    ]
    found = read_table(written(tmp_path, mark + "\n".join(delimiter.join(row) for row in rows)))
    assert found.names == ["a/1.jpg", "2, or; so.jpg", "3.jpg", "4.jpg"]
    assert found.columns == ("zero_one", "sign", "bool", "age", "gaps")
    expected = [[-1, -1, 1, 31, nan], [1, 1, -1, -25, 1], [1, -1, 1, 0, nan], [-1, 1, -1, 1, -1]]
    np.testing.assert_array_equal(found.values, np.array(expected, np.float32), strict=True)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("file,age\n1.jpg,31\n2.jpg,old\n", "line 3: column 'age' is 'old'; must be a number"),
        ("file,age\n1.jpg,1e300\n", "line 2: column 'age' is '1e300'"),
        ("file,age\n1.jpg,inf\n", "column 'age' is 'inf'"),
        ("file,age\n1.jpg,31,5\n", "line 2: 3 cells; the header has 2"),
        ("file,age,age\n1.jpg,31,5\n", "columns are 'age', 'age'; names of columns must be unique"),
        ("file,\n1.jpg,31\n", "columns are ''; names of columns must be unique and not empty"),
        ("file\n1.jpg\n", "has no attributes; it must have file names"),
        ("file,age\n", "has no rows"),
        ("", "has no rows"),
        (b"file,age\n\xff.jpg,1\n", "save it as CSV in UTF-8"),
        ("3\nBald Male\n1.jpg -1 1\n", "has 1 rows, but its first line states 3"),
        ("1\nBald Male\n1.jpg -1 2\n", "row '1.jpg -1 2' is not a name and 2 values of -1 or 1"),
        ("1\nBald Male\n1.jpg -1\n", "row '1.jpg -1' is not a name"),
        ("1\nBald Bald\n1.jpg -1 1\n", "columns are 'Bald', 'Bald'"),
        ("1\n", "has 0 rows, but its first line states 1"),
    ],
)
def test_a_bad_table_is_refused_in_one_line(tmp_path: Path, content: str | bytes, problem: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z") as caught:
        read_table(path)
    assert str(caught.value).startswith(str(path))
    assert problem in str(caught.value)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.csv: no such file"):
        read_table(tmp_path / "none.csv")


@pytest.mark.parametrize("content", ["1.jpg 0\n2.jpg 2\n", "image_id,partition\n1.jpg,0\n2.jpg,2\n"])
def test_partitions_as_text_and_csv(tmp_path: Path, content: str) -> None:
    found = read_partition(written(tmp_path, content))
    assert found.names == ["1.jpg", "2.jpg"]
    np.testing.assert_array_equal(found.values, np.array([[0], [2]], np.float32), strict=True)


@pytest.mark.parametrize("content", ["1.jpg 3\n", "1.jpg\n", "1.jpg 0 1\n", b"\xff\xff 0\n"])
def test_a_bad_partition_is_refused(tmp_path: Path, content: str | bytes) -> None:
    path = written(tmp_path, content)
    with pytest.raises(
        ValueError, match=r"\A[^\n]*table.csv(: row '1.jpg.* is not a file name and 0, 1| cannot be read)"
    ):
        read_partition(path)


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
    ],
)
def test_rows_are_found_by_path_then_file_name_then_stem(names: list[str], images: list[str]) -> None:
    np.testing.assert_array_equal(rows_of(table(*names), images), [1, 0])


@pytest.mark.parametrize(
    ("names", "images", "problem"),
    [
        (
            ["a", "b"],
            ["a.jpg", "c.jpg", "d.jpg"],
            "2 images have no row (first: c.jpg), 1 rows have no image (first: b)",
        ),
        (["a"], ["a.jpg", "c.jpg"], "1 images have no row (first: c.jpg); give each image one row"),
        (["x", "b", "y"], ["b.jpg"], "2 rows have no image (first: x); give each image one row"),
        (["a.png", "a.gif"], ["a.jpg"], "1 images have no row (first: a.jpg), 2 rows have no image (first: a.png)"),
        (["a", "b", "a"], ["a.jpg", "b.jpg"], "has several rows for 'a'; keep only one"),
        (["a", "b"], ["one/a.jpg", "two/a.jpg", "b.jpg"], "row 'a' fits one/a.jpg and two/a.jpg; use full paths"),
    ],
)
def test_a_table_that_does_not_match_is_refused(names: list[str], images: list[str], problem: str) -> None:
    with pytest.raises(ValueError, match=r"\Alist\.csv") as caught:
        rows_of(table(*names), images)
    assert problem in str(caught.value)


def test_columns_are_dropped_by_name() -> None:
    full = Table("list.csv", ["1", "2"], ("a", "b", "c"), np.arange(6, dtype=np.float32).reshape(2, 3))
    some = full.without(["b"])
    assert some.columns == ("a", "c")
    np.testing.assert_array_equal(some.values, np.array([[0, 2], [3, 5]], np.float32), strict=True)
    assert full.without(()).columns == full.columns
    with pytest.raises(ValueError, match=r"list.csv has no column 'd'; it must be one of a, b, c"):
        full.without(["d"])
    with pytest.raises(ValueError, match=r"list.csv: all of its columns are dropped; keep one, or pass no table"):
        full.without(["c", "b", "a"])


def test_the_largest_numbers_that_are_read_can_be_standardised() -> None:
    values = np.array([[1e38], [-1e38], [1e38], [-1e38]], np.float32)
    _, found = learnable(("x",), values, 4)
    np.testing.assert_allclose(found[:, 0], [1, -1, 1, -1], rtol=1e-6)


def test_continuous_columns_are_standardised_by_the_training_rows() -> None:
    rng = np.random.default_rng(0)
    values = np.stack([rng.choice([-1, 1], 50), rng.normal(40, 7, 50), rng.choice([-1, 0, 1], 50)], 1)
    values[rng.random(values.shape) < 0.2] = nan
    attributes, found = learnable(("smiling", "age", "x"), values.astype(np.float32), 30)
    assert [(a.name, a.continuous) for a in attributes] == [("smiling", False), ("age", True), ("x", True)]
    np.testing.assert_array_equal(found[:, 0], values[:, 0])
    for column in (1, 2):
        known = [value for value in values[:30, column] if value == value]
        mean = sum(known) / len(known)
        std = (sum((value - mean) ** 2 for value in known) / len(known)) ** 0.5
        assert (attributes[column].mean, attributes[column].std) == pytest.approx((mean, std), rel=1e-6)
        np.testing.assert_allclose(found[:, column], (values[:, column] - mean) / std, atol=1e-5)


@pytest.mark.parametrize("column", [[1, 1, 1, -1], [7, 7, 7, 8], [nan, nan, nan, 1], [1, nan, 1, -1]])
def test_columns_constant_in_training_cannot_be_learned(column: list[float]) -> None:
    values = np.array([[1, -1, 1, 1], column, [1, 2, 3, 4]], np.float32).T
    with pytest.raises(ValueError, match=r"\Ax: the same in all 3 training .* the other 2 of 3 can stay\Z"):
        learnable(("a", "x", "b"), values, 3)


def test_rivals_are_the_others_of_a_group_that_the_table_has() -> None:
    columns = ("Bald", "Male", "Black_Hair", "Wavy_Hair", "Gray_Hair")
    values = np.repeat(np.array([[1], [-1]], np.float32), 5, 1)
    assert {a.name: a.mutually_exclusive for a in learnable(columns, values, 2)[0]} == {
        "Bald": ("Black_Hair", "Gray_Hair"),
        "Male": (),
        "Black_Hair": ("Bald", "Gray_Hair"),
        "Wavy_Hair": (),
        "Gray_Hair": ("Bald", "Black_Hair"),
    }


def test_no_columns_are_fine() -> None:
    attributes, values = learnable((), np.empty((4, 0), np.float32), 3)
    assert attributes == ()
    assert values.shape == (4, 0)


def test_a_column_of_two_words_is_an_attribute(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("file,gender,Glasses,Smiling\n1.jpg,Male,No,1\n2.jpg,Female,Yes,0\n3.jpg,, Yes,\n")
    table = read_table(file)
    assert table.columns == ("gender=Male", "Glasses", "Smiling")
    nan = math.nan
    np.testing.assert_array_equal(table.values, [[1, -1, 1], [-1, 1, -1], [nan, 1, nan]])
    assert table.without(["gender"]).columns == ("Glasses", "Smiling")
    assert table.without(["gender=Male"]).columns == ("Glasses", "Smiling")


def test_a_column_of_many_words_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("file,photographer,Smiling\n1.jpg,Ann,1\n2.jpg,Bob,0\n3.jpg,Cid,0\n")
    with pytest.warns(UserWarning, match="column 'photographer' has 3 different words and is left out"):
        table = read_table(file)
    assert table.columns == ("Smiling",)
    # It may be dropped by name all the same.
    assert table.without(["photographer"]).columns == ("Smiling",)
    with pytest.raises(ValueError, match="has no column 'photo'"):
        table.without(["photo"])
    file.write_text("file,photographer\n1.jpg,Ann\n2.jpg,Bob\n3.jpg,Cid\n")
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(ValueError, match="has no attributes; it must have"),
    ):
        read_table(file)
