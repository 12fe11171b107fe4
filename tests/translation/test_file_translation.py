"""Files through a translator without a model: formats, packing, errors by line, memory."""

from __future__ import annotations

import gc
import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.file_runs import SUFFIXES, TEXTS, FakeTranslator, packed, translate, unpacked

from keras_int8nmt.files.compression import CompressedFileError, open_input
from keras_int8nmt.files.lines import TextFileError, read_lines
from keras_int8nmt.files.output import StreamOutput, open_output
from keras_int8nmt.files.records import make_format
from keras_int8nmt.files.source import LineSource, count_lines
from keras_int8nmt.translation.files import translate_lines
from keras_int8nmt.translation.results import SentenceError, Translation


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("window", [1, 4, 100])
def test_as_many_lines_out_as_in_in_their_order(tmp_path, suffix, window):
    content = "".join(text + "\n" for text in TEXTS)
    source = packed(tmp_path / f"in{suffix}", content.encode())
    target = tmp_path / f"out{suffix}"
    done = translate(source, target, window=window)
    assert unpacked(target).decode() == content.upper()
    assert (done.lines, done.lines_before, done.failed) == (23, 0, 0)
    assert done.target_tokens == 23 * 4
    assert done.figures()["tokens_per_second"] > 0
    assert count_lines(source) == count_lines(target) == 23
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"in{suffix}", f"out{suffix}"]


def test_the_garbage_collector_is_as_it_was(tmp_path):
    gc.unfreeze()  # conftest.py has frozen what tests import
    (tmp_path / "in").write_text("\n".join(TEXTS), "utf-8")
    counts = []
    translator = FakeTranslator(lambda _: counts.append(gc.get_freeze_count()))
    translate(tmp_path / "in", tmp_path / "out", translator=translator)
    assert min(counts) > 0
    assert gc.get_freeze_count() == 0


def test_ends_of_lines_and_the_mark_at_the_start(tmp_path):
    source = tmp_path / "in"
    source.write_bytes("\ufeffOne.\r\n\r\na\u2028b\u0085c\n \nlast".encode())
    translate(source, tmp_path / "out", window=2)
    assert (tmp_path / "out").read_bytes().decode() == "ONE.\n\nA B C\n \nLAST\n"
    assert count_lines(source) == 5
    (tmp_path / "empty").write_bytes(b"")
    assert translate(tmp_path / "empty", tmp_path / "none").lines == 0
    assert (tmp_path / "none").read_bytes() == b""


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_without_a_line_becomes_a_file_that_its_tools_read(tmp_path, suffix):
    source = packed(tmp_path / f"in{suffix}", b"")
    target = tmp_path / f"out{suffix}"
    assert translate(source, target).lines == 0
    assert target.read_bytes() == source.read_bytes()
    assert count_lines(target) == 0
    if suffix == "":
        assert target.read_bytes() == b""
    elif tool := shutil.which({".gz": "gzip", ".zst": "zstd"}[suffix]):
        subprocess.run([tool, "-t", target], check=True, capture_output=True)


def test_gzip_is_what_gzip_reads_and_writes(tmp_path):
    source = tmp_path / "in.gz"
    # Two members and padding, as `cat a.gz b.gz` and tapes give them.
    source.write_bytes(gzip.compress(b"one\nt") + b"\0" * 9 + gzip.compress(b"wo\n") + b"\0" * 600)
    translate(source, tmp_path / "out.gz", window=1)
    assert gzip.decompress((tmp_path / "out.gz").read_bytes()) == b"ONE\nTWO\n"


def test_damaged_and_truncated_files_are_told(tmp_path):
    whole = gzip.compress(b"".join(b"%d sheep\n" % i for i in range(9999)))
    for content, word in ((whole[:-20], "truncated"), (b"plain text\n", "damaged")):
        (tmp_path / "in.gz").write_bytes(content)
        with pytest.raises(CompressedFileError, match=word):
            translate(tmp_path / "in.gz", tmp_path / "out", window=1000, force=True)
        assert not (tmp_path / "out").exists()


def test_a_missing_zstd_is_told(tmp_path, monkeypatch):
    if sys.version_info >= (3, 14):
        pytest.skip("the standard library has zstd")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(CompressedFileError, match=r"keras-int8nmt\[zstd\]"):
        open_input(tmp_path / "in.zst")
    with pytest.raises(CompressedFileError, match=r"Python 3\.14"):
        open_output(tmp_path / "out.zst", dict, "stop")
    assert not list(tmp_path.iterdir())


def write_json(path, records):
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), "utf-8")
    return path


def test_json_lines_keep_their_entries(tmp_path):
    records = [{"id": 1, "text": "one"}, {"text": "zw\u00f6lf\nlines", "n": [1.5, None]}]
    source = write_json(tmp_path / "in", records)
    source.write_bytes(source.read_bytes() + b"\n" + b'{"text": "\\ud800"}\n')
    translate(source, tmp_path / "out", make_format("jsonl", None, None))
    lines = (tmp_path / "out").read_text("utf-8").split("\n")
    assert json.loads(lines[0]) == {"id": 1, "text": "one", "translation": "ONE"}
    assert json.loads(lines[1]) == {**records[1], "translation": "ZW\u00d6LF\nLINES"}
    assert "\u00d6" in lines[1]
    assert lines[2] == ""
    assert json.loads(lines[3])["translation"] == "\ud800"
    assert len(lines) == 5


def through_a_run(folder, *lines, output_field=None):
    """JSON lines that were translated."""
    (folder / "in").write_bytes(b"\n".join(lines))
    form = make_format("jsonl", None, output_field)
    translate(folder / "in", folder / "out", form, force=True)
    return (folder / "out").read_bytes().removesuffix(b"\n").split(b"\n")


OTHER_ENTRIES = [
    b'"n": 1e400, "m": -1E-400, "big": ' + b"9" * 5000,
    b'"n": 0.1000000000000000055511151231257827, "m": 1.0, "k": 1e2, "z": -0.0',
    b'"id" :7 ,"deep":[{"n":1e999}]  ',
    '"a": "\\u00fc\\/\u00fc }", "b": "\u2028"'.encode(),
    b'"id": 1, "id": 2',
]


@pytest.mark.parametrize("other", OTHER_ENTRIES, ids=range(len(OTHER_ENTRIES)))
def test_all_else_on_a_line_of_json_stays_to_the_letter(tmp_path, other):
    """Where the translation is added, and where it is put in the place of another."""
    (added,) = through_a_run(tmp_path, b' {"text": "one",' + other + b"\t} ")
    space = other[len(other.rstrip()) :]
    expected = b' {"text": "one",' + other.rstrip() + b', "translation": "ONE"' + space + b"\t} "
    assert added == expected
    assert json.loads(added, parse_int=float)["translation"] == "ONE"

    before, after = b'{"text": "one", "dst": ', b", " + other + b"}"
    for old in (b'"?"', b'{"dst": ["}"]}', b"1e400", b"null"):
        (line,) = through_a_run(tmp_path, before + old + after, output_field="dst")
        assert line == before + b'"ONE"' + after


def test_of_two_entries_with_the_name_of_the_translation_the_one_that_counts_is_replaced(tmp_path):
    (line,) = through_a_run(tmp_path, b'{"d": 1, "text": "one", "d" : 2}', output_field="d")
    assert line == b'{"d": 1, "text": "one", "d" : "ONE"}'
    # It may be what was translated.
    (line,) = through_a_run(tmp_path, b'{"te\\u0078t" : "one"}', output_field="text")
    assert line == b'{"te\\u0078t" : "ONE"}'


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_what_python_alone_takes_for_json_is_an_unreadable_line(tmp_path, capsys, constant):
    line = f'{{"text": "one", "n": [{constant}]}}\n'
    (tmp_path / "in").write_text(line)
    form = make_format("jsonl", None, None)
    with pytest.raises(TextFileError, match=rf"line 1: not JSON \({constant}"):
        translate(tmp_path / "in", tmp_path / "out", form)
    translate(tmp_path / "in", tmp_path / "out", form, on_error="copy")
    assert (tmp_path / "out").read_text() == line
    assert f"line 1: not JSON ({constant}" in capsys.readouterr().err


def test_json_fields_are_named(tmp_path):
    source = write_json(tmp_path / "in", [{"src": "one", "dst": "?"}])
    translate(source, tmp_path / "out", make_format("jsonl", "src", "dst"))
    assert json.loads((tmp_path / "out").read_text()) == {"src": "one", "dst": "ONE"}


def test_columns_get_one_more(tmp_path):
    source = tmp_path / "in"
    source.write_bytes(b"1\tone\r\n\n2\ttwo\tmore\n")
    translate(source, tmp_path / "out", make_format("tsv", "2", None))
    assert (tmp_path / "out").read_bytes() == b"1\tone\tONE\n\n2\ttwo\tmore\tTWO\n"
    translate(source, tmp_path / "first", make_format("tsv", None, None))
    assert (tmp_path / "first").read_bytes() == b"1\tone\t1\n\n2\ttwo\tmore\t2\n"


def test_a_row_of_empty_cells_gets_a_column_and_an_empty_line_gets_none(tmp_path):
    source = tmp_path / "in"
    source.write_bytes(b"a\tb\tc\n\t\t\r\n\n \n\t \t\n")
    for form in (make_format("tsv", "2", None), make_format("tsv", "b", "d")):
        translate(source, tmp_path / "out", form, force=True)
        first, *lines = (tmp_path / "out").read_bytes().split(b"\n")
        assert first in (b"a\tb\tc\tB", b"a\tb\tc\td")
        assert [line.strip(b" ") for line in lines] == [b"\t\t\t", b"", b"", b"\t \t\t", b""]
    source.write_bytes(b"a\tb\tc\n\t\n")
    with pytest.raises(TextFileError, match="line 2: 2 columns, and column 3"):
        translate(source, tmp_path / "none", make_format("tsv", "3", None))


def test_columns_are_found_in_a_header(tmp_path):
    source = tmp_path / "in"
    source.write_bytes(b"\xef\xbb\xbfid\ten\n1\tone\n2\ttwo\n")
    translate(source, tmp_path / "out", make_format("tsv", "en", "de"), window=1)
    assert (tmp_path / "out").read_bytes() == b"id\ten\tde\n1\tone\tONE\n2\ttwo\tTWO\n"
    with pytest.raises(TextFileError, match="line 1: no column 'fr'"):
        translate(source, tmp_path / "none", make_format("tsv", "fr", None))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("text", "1", None), "no fields"),
        (("text", None, "de"), "no fields"),
        (("tsv", "0", None), "from 1"),
        (("tsv", "2", "de"), "must be a name"),
        (("csv", None, None), "text, jsonl, tsv"),
    ],
)
def test_formats_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_format(*arguments)


BAD = {
    "text": (b"one\ntw\xff\nBROKEN three\n", ["not UTF-8 (byte 0xff at byte 3", "NaN"]),
    "jsonl": (
        b'{"text": "one"}\n{"text": 2}\n{"text": "BROKEN"}\n{\n{"a": 1}\n[]\n',
        ["'text' is not text", "NaN", "not JSON", "no field 'text'", "not a JSON object"],
    ),
    "tsv": (b"1\tone\n2\n3\tBROKEN\n", ["1 columns, and column 2", "NaN"]),
}
COPIED = {
    "text": b"ONE\ntw\xff\nBROKEN three\n",
    "jsonl": b'{"text": "one", "translation": "ONE"}\n{"text": 2}\n'
    b'{"text": "BROKEN", "translation": "BROKEN"}\n{\n{"a": 1}\n[]\n',
    "tsv": b"1\tone\tONE\n2\n3\tBROKEN\tBROKEN\n",
}
EMPTY = {
    "text": b"ONE\n\n\n",
    "jsonl": b'{"text": "one", "translation": "ONE"}\n\n{"text": "BROKEN", "translation": ""}\n'
    b"\n\n\n",
    "tsv": b"1\tone\tONE\n\n3\tBROKEN\t\n",
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize(("on_error", "expected"), [("copy", COPIED), ("empty", EMPTY)])
def test_lines_that_fail_are_reported_by_number(tmp_path, capsys, name, on_error, expected):
    content, reasons = BAD[name]
    (tmp_path / "in").write_bytes(content)
    form = make_format(name, "2" if name == "tsv" else None, None)
    done = translate(tmp_path / "in", tmp_path / "out", form, on_error=on_error)
    assert (tmp_path / "out").read_bytes() == expected[name]
    told = capsys.readouterr().err.splitlines()
    assert len(told) == len(reasons) == done.failed
    for number, (line, reason) in enumerate(zip(told, reasons, strict=True), 2):
        assert f"in, line {number}: " in line
        assert reason in line
        assert line.endswith({"copy": "copied", "empty": "left empty"}[on_error])


def test_a_line_that_fails_stops_the_run_and_loses_nothing(tmp_path):
    source = tmp_path / "in"
    source.write_text("\n".join([*TEXTS[:9], "BROKEN", *TEXTS[9:]]) + "\n", "utf-8")
    with pytest.raises(TextFileError, match=r"in, line 10: The decoder: NaN\."):
        translate(source, tmp_path / "out")
    assert (tmp_path / "out.partial").read_text("utf-8").count("\n") == 8
    done = translate(source, tmp_path / "out", resume=True, on_error="copy")
    assert (done.lines, done.lines_before, done.failed) == (24, 8, 1)
    expected = [text.upper() for text in TEXTS]
    expected.insert(9, "BROKEN")
    assert (tmp_path / "out").read_text("utf-8").splitlines() == expected


def test_what_a_translator_says_of_a_sentence_names_the_line_of_the_file(tmp_path):
    """Lines that are empty, unreadable or of an earlier window count, too."""
    source, told = tmp_path / "in", []

    class Telling(FakeTranslator):
        def begin(self, texts, name=None):
            told.extend((text, name(i)) for i, text in enumerate(texts))
            return super().begin(texts, name)

    source.write_bytes(b'\n{"text": "line 2"}\n{\n\n{"text": "line 5"}\n{"text": "line 6"}\n')
    translate(
        source, tmp_path / "out", make_format("jsonl", None, None), window=2, on_error="copy",
        translator=Telling(),
    )  # fmt: skip
    assert told == [(text, f"{source}, {text},") for text in ("line 2", "line 5", "line 6")]


@pytest.mark.parametrize("size", [5 << 20, 70 << 20])
def test_a_line_that_is_too_long_is_one_that_fails(tmp_path, capsys, size):
    """It is copied as it is, unless it would fill the memory, and does not end the run."""
    long = b"x" * size
    (tmp_path / "in").write_bytes(b"one\n" + long + b"\r\ntwo\n" + long)
    with pytest.raises(TextFileError, match="in, line 2: more than 4194304 bytes"):
        translate(tmp_path / "in", tmp_path / "out", window=1)
    done = translate(tmp_path / "in", tmp_path / "out", on_error="copy", resume=True, window=1)
    copied = long if size < 64 << 20 else b""
    assert (tmp_path / "out").read_bytes() == b"ONE\n" + copied + b"\nTWO\n" + copied + b"\n"
    assert (done.lines, done.lines_before, done.failed) == (4, 1, 2)
    treated = "copied" if copied else "left empty"
    assert [line.rpartition("; ")[2] for line in capsys.readouterr().err.splitlines()] == [
        treated, treated
    ]  # fmt: skip


WIDE = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
SCRIPTS = [
    "One.\nTwo words.\n",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440.\r\n\u041d\u0435\u0442.\r\n",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e\n",
    "\u4f60\u597d\uff0c\u4e16\u754c\n\u518d\u89c1 2\n",
    "Hi",
]


@pytest.mark.parametrize("name", ["in", "in.gz"])
@pytest.mark.parametrize("text", SCRIPTS)
@pytest.mark.parametrize("encoding", WIDE)
def test_an_encoding_of_two_or_four_bytes_is_told_by_its_name(tmp_path, encoding, text, name):
    """The mark at the start is no must."""
    source = packed(tmp_path / name, text.encode(encoding))
    message = rf"{name}, line 1: the file is {encoding[:6].upper()}\w* and must"
    with (
        LineSource(source, make_format("text", None, None)) as lines,
        pytest.raises(TextFileError, match=message),
    ):
        next(lines.windows())
    if name == "in":
        with pytest.raises(TextFileError, match=message):
            read_lines(source)


def test_a_file_in_another_encoding_ends_the_run_whatever_becomes_of_lines_that_fail(tmp_path):
    (tmp_path / "in").write_bytes("One.\n".encode("utf-16"))
    for on_error in ("copy", "empty"):
        with pytest.raises(TextFileError, match="is UTF-16 and must"):
            translate(tmp_path / "in", tmp_path / "out", on_error=on_error)


def test_text_in_utf_8_is_not_taken_for_another_encoding(tmp_path):
    lines = ["One.", "Привет", "你好", "नमस्ते", "a\tb", "\x1b[1mb\x1b[0m"]
    source = tmp_path / "in"
    source.write_text("\n".join(lines), "utf-8")
    assert translate(source, tmp_path / "out").failed == 0
    assert read_lines(source) == lines


@pytest.mark.parametrize("line", [b"Good\0 night.", b"\0", b"\0\0\0\0", b"a long line\0"])
def test_a_zero_byte_in_a_line_is_reported(tmp_path, capsys, line):
    (tmp_path / "in").write_bytes(b"one\n" + line + b"\ntwo\n")
    message = f"in, line 2: a NUL at byte {line.index(0) + 1} of the line"
    with pytest.raises(TextFileError, match=message):
        translate(tmp_path / "in", tmp_path / "out", force=True)
    with pytest.raises(TextFileError, match=message):
        read_lines(tmp_path / "in")
    assert translate(tmp_path / "in", tmp_path / "out", on_error="copy", force=True).failed == 1
    assert (tmp_path / "out").read_bytes() == b"ONE\n" + line + b"\nTWO\n"
    assert message in capsys.readouterr().err
    (tmp_path / "json").write_bytes(b'{"text": "a\\u0000b"}\n')
    with pytest.raises(TextFileError, match="a NUL in the field 'text'"):
        translate(tmp_path / "json", tmp_path / "o", make_format("jsonl", None, None))


NESTED = [
    # (line, field, output field, expected)
    ('{"t": {"en": "a"}}', "t.en", None, '{"t": {"en": "a"}, "translation": "A"}'),
    ('{"t": {"en": "a"}}', "t.en", "t.de", '{"t": {"en": "a", "de": "A"}}'),
    ('{"t": {"en":"a","de":1}, "i": 2}', "t.en", "t.de", '{"t": {"en":"a","de":"A"}, "i": 2}'),
    ('{"a":{"b":{"c":"x"} } }', "a.b.c", "a.d", '{"a":{"b":{"c":"x"}, "d": "X" } }'),
    # The default would take the place of the source.
    ('{"translation": {"en": "a"}}', "translation.en", None,
     '{"translation": {"en": "a", "translation": "A"}}'),
    ('{"translation": {"en": "a", "translation": 0}}', "translation.en", None,
     '{"translation": {"en": "a", "translation": "A"}}'),
    ('{"translation": {"en": "a"}}', "translation.en", "translation", '{"translation": "A"}'),
    # A name with a dot is one if there is such an entry.
    ('{"t.en": "a", "t": {"en": "b"}}', "t.en", "y", '{"t.en": "a", "t": {"en": "b"}, "y": "A"}'),
    ('{"t.u": {"en": "a"}}', "t.u.en", "t.u.de", '{"t.u": {"en": "a", "de": "A"}}'),
    ('{"t": {"en": "a"}, "t.de": 0}', "t.en", "t.de", '{"t": {"en": "a"}, "t.de": "A"}'),
    # What is to be made, in an object without an entry and in none.
    ('{"t": "a", "o": { }}', "t", "o.de", '{"t": "a", "o": {"de": "A" }}'),
    ('{"t": "a"}', "t", "o.p.de", '{"t": "a", "o": {"p": {"de": "A"}}}'),
    # Of two entries of a name the last counts, in objects too.
    ('{"t": {"en": "a"}, "t": {"en": "b", "en": "c"}}', "t.en", "t.en",
     '{"t": {"en": "a"}, "t": {"en": "b", "en": "C"}}'),
]  # fmt: skip


@pytest.mark.parametrize(("line", "field", "output_field", "expected"), NESTED)
def test_entries_of_nested_objects_are_named_with_dots(
    tmp_path, line, field, output_field, expected
):
    (tmp_path / "in").write_text(line)
    translate(tmp_path / "in", tmp_path / "out", make_format("jsonl", field, output_field))
    assert (tmp_path / "out").read_text() == expected + "\n"


@pytest.mark.parametrize(
    ("line", "output_field", "message"),
    [
        ('{"t": {"de": "a"}}', None, "no field 't.en'"),
        ('{"t": "a"}', None, "no field 't.en'"),
        ('{"t": {"en": 1}}', None, "the field 't.en' is not text"),
        ('{"t": {"en": "a"}, "o": 1}', "o.de", "the field 'o' is no object"),
    ],
)
def test_a_nested_entry_that_is_not_there_is_an_error_of_its_line(
    tmp_path, line, output_field, message
):
    (tmp_path / "in").write_text(line)
    form = make_format("jsonl", "t.en", output_field)
    with pytest.raises(TextFileError, match=f"in, line 1: {message}"):
        translate(tmp_path / "in", tmp_path / "out", form)


class Marking(FakeTranslator):
    """Says of a text with RUNAWAY that it was not finished, of one with LONG that it was cut."""

    def begin(self, texts, name=None):
        pending = super().begin(texts, name)

        def results(progress=None):
            return [
                Translation(
                    [replace(one.hypotheses[0], finished="RUNAWAY" not in one.text)],
                    source_cut="LONG" in one.text,
                )
                for one in type(pending).results(pending, progress)
            ]

        return SimpleNamespace(results=results, cancel=pending.cancel)


def test_what_ran_into_the_limit_is_counted_and_told_by_its_line_once(tmp_path, capsys):
    texts = ["one", "runaway", "long", "", "long runaway", *["x"] * 9, "runaway"]
    (tmp_path / "in").write_text("\n".join(texts))
    done = translate(tmp_path / "in", tmp_path / "out", translator=Marking(), window=2)
    assert (done.unfinished, done.sources_cut, done.failed) == (3, 2, 0)
    assert done.figures()["unfinished"] == 3
    assert done.figures()["sources_cut"] == 2
    (warning,) = capsys.readouterr().err.splitlines()
    assert "in: the translations of lines 2, 5, 15 ran into the length limit" in warning
    assert "15 lines" in done.summary()
    assert "3 ran into the length limit, 2 cut before" in done.summary()
    (tmp_path / "in").write_text("runaway\n" * 30 + "BROKEN\n")
    with pytest.raises(TextFileError, match="line 31"):
        translate(tmp_path / "in", tmp_path / "out", translator=Marking(), force=True, window=1)
    (warning,) = capsys.readouterr().err.splitlines()
    assert "lines 1, 2, 3," in warning
    assert "20 and of 10 more ran into" in warning


def test_json_lines_carry_what_went_wrong(tmp_path):
    lines = [
        b'{"text": "one"}',
        b'{"text": "runaway" }',
        b'{"text": "long"}',
        b'{"text": "long runaway", "t": {}}',
        # A mark of an earlier translation goes with it; an entry of the line's own stays.
        b'{"text": "one", "translation": "?", "finished": false, "source_cut": true}',
        b'{"text": "runaway", "translation": "?", "finished": true}',
        b'{"text": "runaway", "finished": true}',
        b'{"text": "runaway", "translation": "?", "finished": "on Monday"}',
    ]
    (tmp_path / "in").write_bytes(b"\n".join(lines))
    form = make_format("jsonl", None, None)
    translate(tmp_path / "in", tmp_path / "out", form, translator=Marking())
    assert (tmp_path / "out").read_bytes().splitlines() == [
        b'{"text": "one", "translation": "ONE"}',
        b'{"text": "runaway", "translation": "RUNAWAY", "finished": false }',
        b'{"text": "long", "translation": "LONG", "source_cut": true}',
        b'{"text": "long runaway", "t": {}, "translation": "LONG RUNAWAY", "finished": false, '
        b'"source_cut": true}',
        b'{"text": "one", "translation": "ONE", "finished": true, "source_cut": false}',
        b'{"text": "runaway", "translation": "RUNAWAY", "finished": false}',
        b'{"text": "runaway", "finished": true, "translation": "RUNAWAY"}',
        b'{"text": "runaway", "translation": "RUNAWAY", "finished": "on Monday"}',
    ]
    form = make_format("jsonl", None, "t.de")
    translate(tmp_path / "in", tmp_path / "out", form, translator=Marking(), force=True)
    assert json.loads((tmp_path / "out").read_text().splitlines()[3]) == {
        "text": "long runaway", "t": {"de": "LONG RUNAWAY"}, "finished": False, "source_cut": True,
    }  # fmt: skip


class Forgetful(FakeTranslator):
    """Can't detokenize what has the word UNKNOWN."""

    def begin(self, texts, name=None):
        pending = super().begin(texts, name)

        def results(progress=None):
            found = type(pending).results(pending, progress)
            outcomes = ["it has no piece" if "UNKNOWN" in one.text else one for one in found]
            if any(isinstance(one, str) for one in outcomes):
                raise SentenceError("Sentence 1 has no piece.", outcomes)
            return found

        return SimpleNamespace(results=results, cancel=pending.cancel)


def test_what_can_not_be_detokenized_is_an_error_of_its_line(tmp_path, capsys):
    (tmp_path / "in").write_text("one\nunknown\ntwo\nBROKEN\nunknown\nthree\n")
    with pytest.raises(TextFileError, match="in, line 2: it has no piece"):
        translate(tmp_path / "in", tmp_path / "out", translator=Forgetful(), window=9)
    done = translate(
        tmp_path / "in", tmp_path / "out", translator=Forgetful(), on_error="copy", force=True
    )
    assert (tmp_path / "out").read_text() == "ONE\nunknown\nTWO\nBROKEN\nunknown\nTHREE\n"
    assert done.failed == 3
    told = capsys.readouterr().err.splitlines()
    assert [line.split("line ")[1][0] for line in told] == ["2", "4", "5"]


def test_with_windows_of_one_line_each_is_answered_before_the_next_is_read(tmp_path):
    reading, writing = os.pipe()
    asked, answers = [b"one\n", b"two\n", b"three\n"], []

    class Asking(LineSource):
        def windows(self):
            for window in super().windows():
                yield window
                # Whoever asks for the next one has answered this one.
                answers.append((tmp_path / "out").read_bytes())
                if asked:
                    os.write(writing, asked.pop(0))
                else:
                    os.close(writing)

    os.write(writing, asked.pop(0))
    with Asking(f"/dev/fd/{reading}", form := make_format("text", None, None), 1) as lines:
        (tmp_path / "out").touch()
        sink = StreamOutput(tmp_path / "out")
        with closing(sink):
            translate_lines(FakeTranslator(), lines, sink, form)
    os.close(reading)
    assert answers == [b"ONE\n", b"ONE\nTWO\n", b"ONE\nTWO\nTHREE\n"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_shown_on_a_terminal_alone(tmp_path, monkeypatch, capsys):
    (tmp_path / "in").write_text("\n".join(TEXTS), "utf-8")
    translate(tmp_path / "in", tmp_path / "out")
    assert capsys.readouterr().err == ""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", Terminal())
        slow = FakeTranslator(lambda _: time.sleep(0.11))
        translate(tmp_path / "in", tmp_path / "out", force=True, translator=slow)
        shown = sys.stderr.getvalue()
    assert "translating" in shown
    assert "tokens/s" in shown


MEMORY = """
    import sys
    sys.path.insert(0, {tests!r})
    from helpers.file_runs import FakeTranslator
    from keras_int8nmt.translation.files import translate_lines
    from keras_int8nmt.files.source import LineSource
    from keras_int8nmt.files.output import open_output
    from keras_int8nmt.files.records import make_format

    def rss():
        return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6

    samples = []
    form = make_format("text", None, None)
    with LineSource({source!r}, form) as lines:
        sink = open_output({target!r}, dict, "stop")
        translator = FakeTranslator(lambda texts: samples.append(rss()))
        print(translate_lines(translator, lines, sink, form).lines)
    print(max(samples[len(samples) // 5 :]) - samples[len(samples) // 5])
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc")
def test_memory_is_flat(tmp_path):
    """80 MB in and out; the process may grow by a few windows, not by the file."""
    source = tmp_path / "in"
    with source.open("w") as file:
        for i in range(400_000):
            file.write(f"{i} " + "words that fill a line " * 8 + "\n")
    code = textwrap.dedent(MEMORY).format(
        tests=str(Path(__file__).parents[1]), source=str(source), target=str(tmp_path / "out")
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines, growth = done.stdout.split()
    assert int(lines) == 400_000
    print(f"grew by {float(growth):.1f} MB")
    assert float(growth) < 15
