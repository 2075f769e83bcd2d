"""Files and folders that are written whole or not at all."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from playpen.files import write_atomically, write_folder_atomically


def test_a_file_is_written_from_one_piece_or_from_several(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    write_atomically(path, b"one")
    assert path.read_bytes() == b"one"
    write_atomically(path, (piece for piece in (b"one\n", b"two\n")))
    assert path.read_bytes() == b"one\ntwo\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_keeps_its_content_where_writing_fails(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"half"
        raise OSError("no space left")

    path = tmp_path / "scores.json"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, pieces())
    assert path.read_bytes() == b"old"
    write_atomically(path, b"new")  # what the failed write left behind does not disturb it
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "made" / "dataset"
    with write_folder_atomically(path) as folder:
        (folder / "README.md").write_text("about it")
        assert folder.parent == path.parent
        assert not path.exists()
    assert [file.name for file in path.iterdir()] == ["README.md"]
    assert list(path.parent.iterdir()) == [path]


def test_nothing_is_left_of_a_folder_that_failed(tmp_path: Path) -> None:
    def write_half(path: Path) -> None:
        with write_folder_atomically(path) as folder:
            (folder / "README.md").write_text("half of")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        write_half(tmp_path / "dataset")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "dataset"
    path.mkdir()
    (path / "README.md").write_text("mine")

    def write_another() -> None:
        with write_folder_atomically(path) as folder:
            (folder / "README.md").write_text("another")

    with pytest.raises(OSError):
        write_another()
    assert (path / "README.md").read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]
