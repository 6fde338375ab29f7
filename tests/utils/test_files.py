"""Files appear complete or not at all."""

import json
import os

import pytest

from coda_keras.utils import files


def test_text_and_json_are_written_as_utf_8_with_their_folders(tmp_path):
    files.write_text(tmp_path / "new/folder/a.txt", "Böhle\n")
    assert (tmp_path / "new/folder/a.txt").read_bytes() == "Böhle\n".encode()
    files.write_json(tmp_path / "a.json", {"b": [1, None]})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == {"b": [1, None]} and text.endswith("}\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no JSON, or damaged: Expecting value"),
        (b"\xff", "is no JSON, or damaged"),
        ("[]", "expected a JSON object with a, b. Received list."),
        ('{"b": 1}', "expected a JSON object with a, b. Received one with b."),
    ],
)
def test_json_of_another_kind_is_told_with_its_name(text, said, tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError) as told:
        files.read_json(path, "a", "b")
    assert str(told.value).startswith(str(path)) and said in str(told.value)
    path.write_text('{"a": [1], "b": 2}')
    assert files.read_json(path, "a") == {"a": [1], "b": 2}


def test_files_in_the_way_of_folders_are_found(tmp_path):
    (tmp_path / "file").write_text("")
    files.check_folder(tmp_path)
    files.check_folder(tmp_path / "new/folder")
    for path in (tmp_path / "file", tmp_path / "file/folder/deep"):
        with pytest.raises(NotADirectoryError, match="file is a file"):
            files.check_folder(path)
    files.check_file(tmp_path / "file")
    files.check_file(tmp_path / "new/file")
    with pytest.raises(IsADirectoryError, match=r"is a folder\. Expected the name of a file"):
        files.check_file(tmp_path)
    with pytest.raises(NotADirectoryError, match="file is a file"):
        files.check_file(tmp_path / "file/new")


def test_what_is_written_replaces_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old and longer")
    files.write_text(path, "new")
    assert path.read_text() == "new"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), files.replacing(path) as temporary:
        temporary.write_text("half of")
        assert path.read_text() == "old"
        raise RuntimeError
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_nothing_written_is_an_error_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), files.replacing(path):
        pass
    assert path.read_text() == "old"


def test_values_that_json_does_not_hold_leave_nothing(tmp_path):
    with pytest.raises(TypeError):
        files.write_json(tmp_path / "a.json", {"path": tmp_path})
    assert list(tmp_path.iterdir()) == []


def test_the_bytes_are_on_disk_before_the_name(tmp_path, monkeypatch):
    path, synced, sync = tmp_path / "a.txt", [], os.fsync

    def noted(descriptor):
        synced.append((os.fstat(descriptor).st_size, path.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    files.write_text(path, "12345")
    assert synced == [(5, False)]


def test_the_temporary_name_is_hidden_and_keeps_the_suffix(tmp_path):
    names = []
    for _ in range(2):
        with files.replacing(str(tmp_path / "net.keras")) as temporary:
            names.append(temporary.name)
            temporary.write_bytes(b"")
    assert all(name.startswith(".") and name.endswith(".keras") for name in names)
    assert len(set(names)) == 2
