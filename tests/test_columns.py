from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jacsup.data.columns import Column, ColumnChoice, attributes_of, understand
from jacsup.data.tables import read_table

nan = float("nan")


def understood(folder: Path, content: str, **choice: tuple[str, ...]) -> list[Column]:
    (folder / "table.csv").write_text(content)
    return understand(read_table(folder / "table.csv"), ColumnChoice(**choice))


def column(folder: Path, *cells: str, **choice: tuple[str, ...]) -> Column:
    rows = "".join(f"{number}.jpg,{cell},{number % 2}\n" for number, cell in enumerate(cells))
    return understood(folder, f"file,x,other\n{rows}", **choice)[0]


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        ("0 1 1 0", "binary", [-1, 1, 1, -1]),
        ("-1 1 1 -1", "binary", [-1, 1, 1, -1]),
        ("True false TRUE ", "binary", [1, -1, 1, nan]),
        ("31 -2.5 NA 7", "continuous", [31, -2.5, nan, 7]),
        ("yes No yes no", "binary", [1, -1, 1, -1]),
        ("absent Present  absent", "binary", [-1, 1, nan, -1]),
    ],
)
def test_kinds_of_columns(tmp_path: Path, cells: str, kind: str, values: list[float]) -> None:
    found = column(tmp_path, *cells.split(" "))
    assert (found.name, found.kind, found.note) == ("x", kind, "")
    np.testing.assert_array_equal(found.attributes["x"], np.array(values, np.float32), strict=True)
    assert found.missing == sum(value != value for value in values)


def test_a_column_of_two_words_is_called_after_the_later_one(tmp_path: Path) -> None:
    found = column(tmp_path, "Male", "Female", "", "male")
    assert (found.kind, found.values) == ("binary", "Female, Male")
    np.testing.assert_array_equal(found.attributes["x=Male"], [1, -1, nan, 1])


def test_a_column_of_a_few_words_has_an_attribute_for_each(tmp_path: Path) -> None:
    found = column(tmp_path, "blond", "brown", "", "red", "Brown")
    assert (found.kind, found.values) == ("words", "blond, brown, red")
    assert [*found.attributes] == ["x=blond", "x=brown", "x=red"]
    np.testing.assert_array_equal(found.attributes["x=brown"], [-1, 1, nan, -1, 1])


def test_rare_words_are_no_attributes(tmp_path: Path) -> None:
    found = column(tmp_path, *["a", "b", "c"] * 50, "d")
    assert [*found.attributes] == ["x=a", "x=b", "x=c"]
    assert found.note == "1 of its words are too rare to learn"


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        (list("abcdefghijk"), "it has 11 different words"),
        (["7", "7", "7"], "it has the same value in all rows"),
        (
            ["1", "", "1"],
            "its cells have the same value or are empty; if empty means without, write another value there",
        ),
        (
            ["yes", "", "Yes"],
            "its cells have the same value or are empty; if empty means without, write another value there",
        ),
        (["", "", ""], "it is empty"),
    ],
)
def test_columns_without_attributes(tmp_path: Path, cells: list[str], note: str) -> None:
    found = column(tmp_path, *cells)
    assert (found.kind, found.attributes, found.note) == ("left out", {}, note)


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        (["-1", "0", "1"], "its values are -1, 0 and 1; if 0 means unknown, leave those cells empty"),
        (["1", "2", "2"], "it has two values, 1 and 2; if they mean without and with, pass it to --binary"),
        ([str(i) for i in range(100)], "each row has a different whole number"),
    ],
)
def test_odd_codings_are_doubted(tmp_path: Path, cells: list[str], note: str) -> None:
    found = column(tmp_path, *cells)
    assert found.kind == "continuous" and found.note.startswith(note)
    assert column(tmp_path, *cells, continuous=("x",)).note == ""


def test_the_user_decides(tmp_path: Path) -> None:
    found = column(tmp_path, "1", "2", "", binary=("X",))
    assert (found.kind, found.note) == ("binary", "")
    np.testing.assert_array_equal(found.attributes["x"], [-1, 1, nan])
    found = column(tmp_path, "0", "1", continuous=("x",))
    assert found.kind == "continuous"
    np.testing.assert_array_equal(found.attributes["x"], [0, 1])


TABLE = "file,Smiling,hair color,gender,who\n1,1,red,Male,Ann\n2,0,blond,Female,Bob\n3,0,brown,Male,3\n"


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ({"drop": ("who",)}, ["Smiling", "hair color=blond", "hair color=brown", "hair color=red", "gender=Male"]),
        ({"drop": ("who, HAIR_COLOR",)}, ["Smiling", "gender=Male"]),
        ({"drop": ("who", "hair color=RED", "smiling")}, ["hair color=blond", "hair color=brown", "gender=Male"]),
        ({"keep": ("gender", "smiling")}, ["Smiling", "gender=Male"]),
        ({"keep": ("hair color=red", "Smiling")}, ["Smiling", "hair color=red"]),
        ({"keep": ("gender=male",)}, ["gender=Male"]),
        ({"keep": ("gender,Smiling",), "drop": ("Smiling",)}, ["gender=Male"]),
    ],
)
def test_columns_and_attributes_are_chosen(
    tmp_path: Path, choice: dict[str, tuple[str, ...]], names: list[str]
) -> None:
    columns = understood(tmp_path, TABLE, **choice)
    found, values = attributes_of("table.csv", columns)
    assert [*found] == names and values.shape == (3, len(names))


@pytest.mark.parametrize(
    ("choice", "problem"),
    [
        ({}, "line 4: column 'who' is '3'|column 'who' is 'Ann'; must be a number, True, False or empty"),
        ({"drop": ("whom",)}, "has no column 'whom'; did you mean 'who'"),
        ({"keep": ("hair color=green",)}, "has no column 'hair color=green'"),
        ({"drop": ("who", "Smiling", "gender", "hair color")}, "no attributes to learn"),
        (
            {"drop": ("who",), "binary": ("hair color",)},
            "column 'hair color' has 3 different words, such as 'red'; a bi",
        ),
        ({"drop": ("who",), "continuous": ("gender",)}, "column 'gender' has 2 different words.* must have numbers"),
        ({"drop": ("who",), "binary": ("gender",), "continuous": ("gender",)}, "as binary and as continuous"),
    ],
)
def test_a_wrong_choice_is_refused_in_one_line(
    tmp_path: Path, choice: dict[str, tuple[str, ...]], problem: str
) -> None:
    with pytest.raises(ValueError, match=rf"\A[^\n]*({problem})[^\n]*\Z"):
        attributes_of("table.csv", understood(tmp_path, TABLE, **choice))


@pytest.mark.parametrize("cell", ["old", "1e300", "inf", "-inf"])
def test_a_cell_that_does_not_fit_its_column(tmp_path: Path, cell: str) -> None:
    with pytest.raises(ValueError, match=rf"line 3: column 'x' is '{cell}'; must be a number"):
        column(tmp_path, "31", cell)


def test_signs_are_not_continuous(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="column 'x' has only -1 and 1, so it is binary"):
        column(tmp_path, "-1", "1", continuous=("x",))
    with pytest.raises(ValueError, match="column 'x' has 3 different numbers; a binary column must have two"):
        column(tmp_path, "1", "2", "3", binary=("x",))


def test_two_attributes_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="several attributes would be called 'g=Male'; rename one"):
        understood(tmp_path, "file,g,g=Male\n1,Male,0\n2,Female,1\n")


def random_cell(rng: np.random.Generator) -> str:
    cells = ["", "0", "1", "-1", "2", "0,5", "1e39", "nan", "yes", "No", "Å", "a;b", '"q"', "\u202e", " x ", "=", "1_0"]
    return str(rng.choice(cells))


@pytest.mark.parametrize("seed", range(300))
def test_any_table_is_read_or_refused_in_one_line(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    delimiter, width = rng.choice([",", ";", "\t"]), int(rng.integers(0, 6))
    # A few kinds of cells for each column, as in real tables.
    kinds = [[random_cell(rng) for _ in range(rng.integers(1, 4))] for _ in range(width)]
    rows = [[f"{row}.jpg", *(str(rng.choice(kind)) for kind in kinds)] for row in range(rng.integers(0, 9))]
    if rng.random() < 0.1 and rows:
        rows[-1] = rows[-1][: rng.integers(0, width + 1)]
    header = ["file", *(f"c{i}" for i in range(width))] if rng.random() < 0.9 else [random_cell(rng)] * (width + 1)
    (tmp_path / "table.csv").write_text("\n".join(delimiter.join(row) for row in [header, *rows]))
    problem = ""
    try:
        names, values = attributes_of("", understand(read_table(tmp_path / "table.csv")))
        assert values.shape == (len([row for row in rows if any(row)]), len(names)) and not np.isinf(values).any()
    except ValueError as error:
        problem = str(error)
    assert "\n" not in problem and len(problem) < 600
