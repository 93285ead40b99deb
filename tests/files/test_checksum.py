"""Tests t5x_lite/files/checksum.py"""

import pytest
import yaml

from t5x_lite.files.checksum import MARK, is_changed, tell_changed, with_first_line, with_key

TEXT = "seed: 12\nname: é\n"


def test_a_text_with_a_checksum_is_the_same_yaml():
    assert yaml.safe_load(with_first_line(TEXT)) == yaml.safe_load(TEXT)


def test_a_text_is_unchanged_as_it_was_written_and_without_a_checksum():
    assert not is_changed(with_first_line(TEXT))
    assert not is_changed(TEXT.encode())


def test_every_flipped_bit_after_the_words_of_the_first_line_is_a_change():
    content = with_first_line(TEXT)
    for place in range(len(MARK), len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            assert is_changed(bytes(changed)), (place, bit)


def test_a_flipped_bit_in_the_words_of_the_first_line_changes_no_field():
    content, fields = with_first_line(TEXT), yaml.safe_load(TEXT)
    for place in range(len(MARK)):
        changed = bytearray(content)
        changed[place] ^= 4
        try:
            found = yaml.safe_load(bytes(changed).decode())
        except (yaml.YAMLError, UnicodeDecodeError):
            continue
        assert found == fields


def test_every_cut_after_the_words_of_the_first_line_is_a_change():
    content = with_first_line(TEXT)
    assert all(is_changed(content[:size]) for size in range(len(MARK), len(content)))


def test_the_checksum_of_fields_is_that_of_the_others():
    fields = with_key({"b": 1, "a": [2.5]})
    assert with_key(fields) == fields
    assert with_key(fields | {"a": [2.6]})["checksum"] != fields["checksum"]


def test_a_change_is_told_once_in_a_line_with_the_file(tmp_path, capsys):
    tell_changed(tmp_path / "one.yaml")
    tell_changed(tmp_path / "one.yaml")
    expected = f"{tmp_path / 'one.yaml'} was changed after the run wrote it (edited, or damaged)\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("content", [b"", b"# checksum", b"# another comment\nseed: 1\n"])
def test_other_texts_have_no_checksum(content):
    assert not is_changed(content)
