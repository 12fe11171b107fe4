"""Columns of Parquet files: translated, journaled row by row, and written beside the others."""

from __future__ import annotations

import os
import re
import sys
from contextlib import closing

import pytest
from helpers.file_runs import FakeTranslator

from keras_int8nmt.files.journal import JournaledOutput, ResumeError
from keras_int8nmt.files.lines import TextFileError
from keras_int8nmt.files.opening import count_records, format_of, open_sink, open_source
from keras_int8nmt.files.parquet import ParquetError, ParquetOutput
from keras_int8nmt.translation.files import find_place, translate_lines

try:
    import pyarrow
    from pyarrow import parquet
except ImportError:
    pyarrow = None
needs_pyarrow = pytest.mark.skipif(pyarrow is None, reason="pyarrow is not installed")

TEXTS = [f"sentence number {i}, grün" for i in range(23)]


def run(source, target, field=None, output_field=None, *, window=4, translator=None, **options):
    """One run; None where it was finished before."""
    form = format_of("parquet", field, output_field)
    on_error = options.pop("on_error", "stop")
    with open_source(source, form, window) as rows:
        sink = open_sink(target, source, form, lambda: {"run": 1}, on_error, **options)
        if sink is None:
            return None
        with closing(sink):
            find_place(rows, sink)
            return translate_lines(
                translator or FakeTranslator(), rows, sink, form, path=target, on_error=on_error
            )


def write(path, columns, **options):
    parquet.write_table(pyarrow.table(columns), path, **options)
    return path


@pytest.fixture
def place(tmp_path):
    texts = [None, *TEXTS, ""]
    ids = [2**60 + i if i % 5 else None for i in range(len(texts))]
    write(tmp_path / "in.parquet", {"id": ids, "text": texts, "x": [[1]] * len(texts)},
          row_group_size=7)  # fmt: skip
    return tmp_path


@needs_pyarrow
def test_rows_get_a_translation_and_all_else_stays(place):
    done = run(place / "in.parquet", place / "out.parquet")
    assert done.lines == count_records(place / "out.parquet", format_of("parquet", None, None))
    before, after = (parquet.read_table(place / f"{name}.parquet") for name in ("in", "out"))
    assert after.column_names == ["id", "text", "x", "translation", "finished", "source_cut"]
    assert after.select(["id", "text", "x"]).equals(before)
    assert after["translation"].to_pylist() == [None, *(text.upper() for text in TEXTS), ""]
    assert after["finished"].to_pylist() == [None, *[True] * 24]
    assert sorted(os.listdir(place)) == ["in.parquet", "out.parquet"]


@needs_pyarrow
@pytest.mark.parametrize("kind", ["large_string", "dictionary"])
def test_texts_may_be_stored_in_other_ways(tmp_path, kind):
    column = pyarrow.array([*TEXTS, None])
    made = column.dictionary_encode() if kind == "dictionary" else column.cast(kind)
    write(tmp_path / "in.parquet", {"en": made})
    run(tmp_path / "in.parquet", tmp_path / "out.parquet", "en", "de")
    found = parquet.read_table(tmp_path / "out.parquet")
    assert found["de"].to_pylist() == [*(text.upper() for text in TEXTS), None]
    assert found["en"].to_pylist() == column.to_pylist()


@needs_pyarrow
def test_an_earlier_translation_is_replaced_and_columns_of_others_are_kept(tmp_path):
    columns = {"translation": ["old", "old"], "text": ["a", "b"], "finished": [False, False]}
    run(write(tmp_path / "in.parquet", columns), tmp_path / "out.parquet")
    found = parquet.read_table(tmp_path / "out.parquet")
    assert found.to_pydict() == {
        "translation": ["A", "B"], "text": ["a", "b"], "finished": [True, True],
        "source_cut": [False, False],
    }  # fmt: skip
    run(tmp_path / "in.parquet", tmp_path / "other.parquet", output_field="de")
    found = parquet.read_table(tmp_path / "other.parquet")
    assert found["finished"].to_pylist() == [False, False]
    assert found["translation"].to_pylist() == ["old", "old"]


@needs_pyarrow
def test_what_stopped_anywhere_goes_on_to_the_same_bytes(place, monkeypatch):
    source, target = place / "in.parquet", place / "out.parquet"
    run(source, place / "one.parquet")
    expected = (place / "one.parquet").read_bytes()
    seen = []

    def stop(texts):
        seen.extend(texts)
        if len(seen) > 12:
            raise KeyboardInterrupt

    def fail(*_):
        raise OSError("no space")

    with pytest.raises(KeyboardInterrupt):
        run(source, target, translator=FakeTranslator(stop))
    assert not target.exists()
    with pytest.raises(ResumeError, match="not finished"):
        run(source, target)
    for home, name in ((ParquetOutput, "_join"), (JournaledOutput, "finish")):
        with monkeypatch.context() as patch:
            patch.setattr(home, name, fail)
            with pytest.raises(OSError, match="no space"):
                run(source, target, resume=True)
        assert target.exists() == (name == "finish")
    assert run(source, target, resume=True).lines_before == 25
    assert target.read_bytes() == expected
    assert run(source, target, resume=True) is None
    assert sorted(os.listdir(place)) == ["in.parquet", "one.parquet", "out.parquet"]
    with pytest.raises(TextFileError, match="exists already"):
        run(source, target)


@needs_pyarrow
def test_a_row_that_cannot_be_translated_is_told_by_its_number(tmp_path, capsys):
    texts = ["fine", "a\0b", "BROKEN", None, "fine"]
    source = write(tmp_path / "in.parquet", {"text": texts})
    with pytest.raises(TextFileError, match="line 2: a NUL at byte 2"):
        run(source, tmp_path / "out.parquet")
    run(source, tmp_path / "out.parquet", on_error="copy", force=True)
    found = parquet.read_table(tmp_path / "out.parquet")
    assert found["translation"].to_pylist() == ["FINE", "", "BROKEN", None, "FINE"]
    assert "in.parquet, line 3: The decoder: NaN.; copied" in capsys.readouterr().err


@needs_pyarrow
def test_an_input_that_has_changed_is_refused(place):
    source, target = place / "in.parquet", place / "out.parquet"

    def stop(texts):
        if TEXTS[9] in texts:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(source, target, translator=FakeTranslator(stop))
    write(source, {"text": ["other", *TEXTS]})
    with pytest.raises(ResumeError, match="has changed"):
        run(source, target, resume=True)


@needs_pyarrow
def test_what_is_no_parquet_file_with_such_a_column_is_refused(place):
    target = place / "out.parquet"
    (place / "text").write_text("no parquet")
    damaged = bytearray((place / "in.parquet").read_bytes())
    damaged[4:200] = bytes(196)
    (place / "damaged").write_bytes(damaged)
    for name, field, told in (
        ("text", None, "'.*text' is no Parquet file"),
        ("damaged", None, "'.*damaged' is damaged"),
        ("in.parquet", "en", "no column 'en'; there are 'id', 'text', 'x'"),
        ("in.parquet", "id", "The column 'id' of '.*' is int64, and no text"),
    ):
        with pytest.raises(ParquetError, match=told):
            run(place / name, target, field)
    with pytest.raises(ValueError, match="would replace"):
        run(place / "in.parquet", target, "text", "text")
    with pytest.raises(TextFileError, match="not from stdin"):
        run(None, target)
    with pytest.raises(ResumeError, match="-o FILE"):
        run(place / "in.parquet", None)
    twice = pyarrow.Table.from_arrays([pyarrow.array(["a"])] * 2, names=["text", "text"])
    parquet.write_table(twice, place / "twice.parquet")
    with pytest.raises(ParquetError, match="two columns of one name"):
        run(place / "twice.parquet", target)
    assert not target.exists()


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "in.parquet").write_bytes(b"PAR1")
    with pytest.raises(ParquetError, match=re.escape("pip install keras-int8nmt[parquet]")):
        run(tmp_path / "in.parquet", tmp_path / "out.parquet")
