"""Files through a translator without a model: formats, packing, errors by line, memory."""

from __future__ import annotations

import gc
import gzip
import io
import json
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from helpers.file_runs import SUFFIXES, TEXTS, FakeTranslator, packed, translate, unpacked

from keras_int8nmt.files.compression import CompressedFileError, open_input
from keras_int8nmt.files.lines import TextFileError
from keras_int8nmt.files.output import open_output
from keras_int8nmt.files.records import make_format
from keras_int8nmt.files.source import count_lines


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
            translate(tmp_path / "in.gz", tmp_path / "out", force=True)
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


def test_a_file_without_lines_is_no_text(tmp_path):
    (tmp_path / "in").write_bytes(b"x" * (5 << 20))
    with pytest.raises(TextFileError, match="line 1: more than"):
        translate(tmp_path / "in", tmp_path / "out", on_error="copy")


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
