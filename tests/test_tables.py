from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jacsup.data.attributes import learnable
from jacsup.data.tables import read_partition, read_table

nan = float("nan")


def written(folder: Path, content: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_celebas_format_with_its_uneven_spaces(tmp_path: Path) -> None:
    path = written(tmp_path, "3\r\nBald  Male \r\n1.jpg -1  1\r\n2.jpg  1 -1\r\n3.jpg -1 -1  \r\n\r\n")
    found = read_table(path)
    assert (found.source, found.names, found.columns) == (str(path), ["1.jpg", "2.jpg", "3.jpg"], ("Bald", "Male"))
    np.testing.assert_array_equal(found.values, np.array([[-1, 1], [1, -1], [-1, -1]], np.float32), strict=True)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
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
    expected = [[0, -1, 1, 31, nan], [1, 1, 0, -25, 1], [1, -1, 1, 0, nan], [0, 1, 0, 1, 0]]
    np.testing.assert_array_equal(found.values, np.array(expected, np.float32), strict=True)


def test_lines_of_json(tmp_path: Path) -> None:
    rows = [
        {"smile": True, "file_name": "a/1.jpg", "age": 31, "hair": "light\nbrown", "box": [1, 2]},
        {"smile": None, "file_name": "2.jpg", "age": 2.5, "hair": "red"},
        {"file_name": "3.jpg", "smile": False, "age": "7", "hair": "", "box": {}},
    ]
    found = read_table(written(tmp_path, "\n\n".join(map(json.dumps, rows)), "metadata.jsonl"))
    assert (found.names, found.columns) == (["a/1.jpg", "2.jpg", "3.jpg"], ("smile", "age", "hair", "box"))
    expected = [[1, 31, nan, nan], [nan, 2.5, nan, nan], [0, 7, nan, nan]]
    np.testing.assert_array_equal(found.values, np.array(expected, np.float32), strict=True)
    assert found.words == {2: {0: (1, "light brown"), 1: (3, "red")}, 3: {0: (1, "[1, 2]"), 2: (5, "{}")}}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("file,age\n1.jpg,31,5\n", "line 2 has 3 cells; must have 2"),
        ("file,age,age\n1.jpg,31,5\n", "columns are 'age', 'age'; names of columns must be unique"),
        ("file,,age\n1.jpg,31,5\n", "columns are '', 'age'; names of columns must be unique and not empty"),
        ("file\n1.jpg\n", "has no attributes; must have file names"),
        ("file,age\n", "has no rows"),
        ("", "has no rows"),
        (b"file,age\n\xff.jpg,1\n", "save it as CSV in UTF-8"),
        ("1\nBald Male\n1.jpg -1 2\n", "row '1.jpg -1 2' must be a file name and 2 values of -1 or 1"),
        ("1\nBald Male\n1.jpg -1\n", "row '1.jpg -1' must be a file name"),
        ("1\nBald Bald\n1.jpg -1 1\n", "columns are 'Bald', 'Bald'"),
        ("1\n", "has no rows"),
        ("1.jpg,0,1\n2.jpg,1,0\n", "the first line is the row of 1.jpg; must be the names of the columns"),
        ('{"1.jpg": 0, "2.jpg": 1}', "the first line is the row of 1.jpg; must be the names of the columns"),
        ('[\n{"file": "1.jpg", "age": 3}]', "line 1 is not an object in JSON; write one for each image"),
        ('{"file": "1.jpg", "age": 3}\n[1]', "line 2 is not an object in JSON; write one for each image"),
        ('{"a": ' * 100_000, "line 1 is not an object in JSON"),
        ('{"file": "1.jpg", "age": 3}\n{"file": "2.jpg", "old": 1}', "line 2: the first line lacks 'old'"),
        ("{}", "has no rows"),
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


@pytest.mark.parametrize("content", ["1.jpg 3\n", "1.jpg\n", b"\xff\xff 0\n"])
def test_a_bad_partition_is_refused(tmp_path: Path, content: str | bytes) -> None:
    path = written(tmp_path, content)
    with pytest.raises(
        ValueError, match=r"\A[^\n]*table.csv(: row '1.jpg.* must be a file name and 0, 1| cannot be read)"
    ):
        read_partition(path)


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
    with pytest.raises(ValueError, match=r"\Ax: the same value in all 3 training .* the other 2 of 3\Z"):
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


def test_the_words_of_a_column_exclude_each_other() -> None:
    columns = ("hair=red", "hair=brown", "gender=Male", "hairy")
    values = np.repeat(np.array([[1], [-1]], np.float32), 4, 1)
    found = {a.name: a.mutually_exclusive for a in learnable(columns, values, 2)[0]}
    assert found == {"hair=red": ("hair=brown",), "hair=brown": ("hair=red",), "gender=Male": (), "hairy": ()}


def test_no_columns_are_fine() -> None:
    attributes, values = learnable((), np.empty((4, 0), np.float32), 3)
    assert attributes == ()
    assert values.shape == (4, 0)


def test_a_count_that_differs_is_a_note(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="has 1 rows, but its first line states 3"):
        assert read_table(written(tmp_path, "3\nBald Male\n1.jpg -1 1\n")).names == ["1.jpg"]


@pytest.mark.parametrize(
    "content",
    [
        "file;share;who\n1.jpg;0,5;Ann\n2.jpg;-1,25;Bob\n",
        "file\tshare\twho\n1.jpg\t0,5\tAnn\n2.jpg\t-1.25\tBob\n",
        "sep=;\nfile;share;who\n1.jpg;0,5;Ann\n2.jpg;-1,25;Bob\n",
        'file,share,who\n1.jpg,"0.5",Ann\n2.jpg,-1.25,Bob\n',
        "file;share;who;;\n1.jpg;0,5;Ann;;\n2.jpg;-1,25;Bob;;\n;;;;\n",
        '"file; of, all";share;who\n1.jpg;0,5;Ann\n2.jpg;-1,25;Bob\n',
        ",file,share,who\n0,1.jpg,.5,Ann\n1,2.jpg,-1.25,Bob\n",
        "file,share,who\r\n1.jpg,0.5,Ann\r\n2.jpg,-1.25,Bob\r\n\r\n",
    ],
    ids=["semicolons", "tabs", "sep=", "quoted", "empty columns and rows", "a quoted header", "an index", "Windows"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_spreadsheets_save(tmp_path: Path, content: str, encoding: str) -> None:
    table = read_table(written(tmp_path, content.encode(encoding)))
    assert (table.names, table.columns) == (["1.jpg", "2.jpg"], ("share", "who"))
    np.testing.assert_array_equal(table.values, np.array([[0.5, nan], [-1.25, nan]], np.float32))
    assert [word for _, word in table.words[1].values()] == ["Ann", "Bob"]


def test_file_names_may_have_spaces_and_commas(tmp_path: Path) -> None:
    path = written(tmp_path, "name,partition\nmy photo.jpg,0\na, b.jpg,2\n")
    assert read_partition(path).names == ["my photo.jpg", "a, b.jpg"]
