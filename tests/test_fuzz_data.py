"""Images and tables that strangers have altered: each is read, or refused in one line.

JACSUP_FUZZ=100 tries a hundred times as many.
"""

from __future__ import annotations

import io
import json
import random
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from pictures import picture
from PIL import Image
from test_fuzz import NUM_TRIES, cut, require_one_line, with_other_bytes

from jacsup.data.images import open_images
from jacsup.data.prepare import ImageSource, prepare
from jacsup.data.tables import read_partition, read_table
from jacsup.photo import encoded, is_grey, opaque, open_image, read_photo

# Tables are read with warnings of what is left out.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
KINDS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF", "HEIF")
# Whose pixels a PNG and a TIFF may have.
MODES = ("RGBA", "LA", "P", "1", "I;16")
CELLS = (
    "",
    "0",
    "-1",
    "1e400",
    "-1e38",
    "nan",
    "inf",
    "yes",
    "Nein",
    '"',
    '""',
    "x" * 500,
    "9" * 400,
    "\0",
    "a,b",
    "é\ud7ff",
)


def with_other_sizes(content: bytes, rng: random.Random) -> bytes:
    """A length or a size in the header is another."""
    place = rng.randrange(min(len(content), 400))
    number = struct.pack(
        rng.choice("<>") + "I", rng.choice((0, 1, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, rng.getrandbits(24)))
    )
    return content[:place] + number + content[place + 4 :]


def with_a_part_again(content: bytes, rng: random.Random) -> bytes:
    start, end, place = (rng.randrange(len(content)) for _ in range(3))
    return content[:place] + content[min(start, end) : max(start, end)] + content[place:]


def without_a_part(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + content[start + rng.randrange(1, 50) :]


MUTATIONS = (with_other_bytes, cut, with_other_sizes, with_a_part_again, without_a_part)


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    photo = Image.open(io.BytesIO(picture(1, 40, 30)))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "sideways"
    read_photo(encoded(photo, "PNG"))  # Pillow knows its formats from now on.
    files = [encoded(photo, kind, exif=exif) for kind in KINDS if kind in Image.SAVE]
    for mode in MODES:
        other = photo.convert("L").convert(mode) if mode in ("I;16", "1") else photo.convert(mode)
        files += [encoded(other, "PNG"), encoded(other, "TIFF")]
    moving = io.BytesIO()
    photo.save(moving, "GIF", save_all=True, append_images=[photo.rotate(90)])
    assert all(open_image(io.BytesIO(file)).size in ((40, 30), (30, 40)) for file in files)
    return [*files, moving.getvalue()]


def use_photo(content: bytes) -> None:
    photo = read_photo(content)
    is_grey(photo)
    encoded(opaque(photo), "JPEG")


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_an_altered_photo_is_read_or_refused_in_one_line(
    mutation: Callable[[bytes, random.Random], bytes], images: list[bytes]
) -> None:
    for seed in range(NUM_TRIES):
        rng = random.Random(seed)
        require_one_line(partial(use_photo, mutation(rng.choice(images), rng)), seed)


def test_altered_images_are_prepared_or_left_out(images: list[bytes], tmp_path: Path) -> None:
    """Twenty altered images in each folder, and twenty that are whole."""
    for seed in range(NUM_TRIES // 20):
        rng = random.Random(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        for number in range(20):
            (folder / f"whole-{number}.png").write_bytes(images[0])
            altered = rng.choice(MUTATIONS)(rng.choice(images), rng)
            (folder / f"{number}.{rng.choice(('jpg', 'png', 'tif'))}").write_bytes(altered)
        manifest = prepare(ImageSource(str(folder)), tmp_path / f"prepared {seed}", size=16, skip_bad=True)
        assert manifest.count + len(manifest.skipped) == 40 and manifest.count >= 20


def csv_table(delimiter: str) -> bytes:
    rows = [
        f"{i}.jpg,{i % 2},{20 + i},{'yes' if i % 3 else 'no'},{'red' if i % 2 else 'blue'},{i % 5}" for i in range(12)
    ]
    return "\n".join(['file,smiling,age,hat,colour,"mood, or so"', *rows]).replace(",", delimiter).encode()


def json_table() -> bytes:
    rows = [{"file_name": f"{i}.jpg", "smiling": i % 2 == 0, "age": 20 + i, "mood": None} for i in range(12)]
    return "\n".join(map(json.dumps, rows)).encode()


def celeba_list() -> bytes:
    rows = [f"{i:06d}.jpg {'-1' if i % 2 else ' 1'}  {'-1' if i % 3 else ' 1'}" for i in range(12)]
    return "\r\n".join(["12", "Bald Male ", *rows, ""]).encode()


TABLES = (
    csv_table(","),
    csv_table(";"),
    csv_table("\t"),
    celeba_list(),
    b"\xef\xbb\xbf" + csv_table(","),
    json_table(),
)
PARTITIONS = (b"".join(b"%06d.jpg %d\n" % (i, i % 3) for i in range(12)), b"image_id,partition\n1.jpg,0\n2.jpg,2\n")


def with_other_cells(content: bytes, rng: random.Random) -> bytes:
    """Words or lines are others, there twice, or missing."""
    ends = b"\n" if rng.random() < 0.5 else rng.choice((b",", b" ", b";"))
    parts = content.split(ends)
    for _ in range(rng.choice((1, 1, 3))):
        place = rng.randrange(len(parts))
        match rng.randrange(3):
            case 0:
                parts[place] = rng.choice(CELLS).encode()
            case 1:
                parts.insert(place, rng.choice(parts))
            case 2 if len(parts) > 1:
                del parts[place]
    return ends.join(parts)


@pytest.mark.parametrize("mutation", [*MUTATIONS, with_other_cells])
@pytest.mark.parametrize(("read", "files"), [(read_table, TABLES), (read_partition, PARTITIONS)])
def test_an_altered_table_is_read_or_refused_in_one_line(
    read: Callable[[Path], object],
    files: tuple[bytes, ...],
    mutation: Callable[[bytes, random.Random], bytes],
    tmp_path: Path,
) -> None:
    path = tmp_path / "table.csv"
    for seed in range(NUM_TRIES):
        rng = random.Random(seed)
        path.write_bytes(mutation(rng.choice(files), rng))
        require_one_line(partial(read, path), seed)


def test_an_altered_table_beside_images_is_learned_or_refused_in_one_line(images: list[bytes], tmp_path: Path) -> None:
    folder, table = tmp_path / "images", tmp_path / "table.csv"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.jpg").write_bytes(images[0])
    original, refused = csv_table(","), 0
    for seed in range(NUM_TRIES // 5):
        table.write_bytes(with_other_cells(original, random.Random(seed)))
        use = partial(prepare, ImageSource(str(folder), table), tmp_path / str(seed), size=8)
        refused += require_one_line(use, seed)
    assert 0 < refused < NUM_TRIES // 5


def test_altered_parquet_files_are_read_or_refused_in_one_line(
    images: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = pytest.importorskip("datasets", reason="needs the extra hub")
    monkeypatch.setattr(hub.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    hub.disable_progress_bars()
    kinds = hub.Features(
        {"image": hub.Image(), "age": hub.Value("float32"), "male": hub.ClassLabel(names=["no", "yes"])}
    )
    content = {
        "image": [{"bytes": images[0], "path": f"{i}.png"} for i in range(4)],
        "age": [1, 2, 3, 4],
        "male": [0, 1] * 2,
    }
    path = tmp_path / "faces.parquet"
    hub.Dataset.from_dict(content, features=kinds).to_parquet(path)
    whole = path.read_bytes()

    def read() -> None:
        with open_images(path) as found:
            assert [type(found.read(number)) for number in range(len(found.names))] == [bytes] * len(found.names)
            json.dumps([found.names, found.table and found.table.columns])

    for seed in range(NUM_TRIES // 15):
        rng = random.Random(seed)
        path.write_bytes(rng.choice(MUTATIONS)(whole, rng))
        require_one_line(read, seed)
