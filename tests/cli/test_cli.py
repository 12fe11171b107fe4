"""The command line: each subcommand on a tiny model, and what it says of bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.models import tiny_model

from keras_int8nmt import MarianTokenizer, __version__, save_folder
from keras_int8nmt.cli import main
from keras_int8nmt.storage.builtin import FOLDER
from keras_int8nmt.storage.model_folder import open_model

GOLDEN = Path(__file__).parents[1] / "data" / "marian" / "relu"
SENTENCES = ["Where is the station?", "", "It rains. ", "My dog likes the old red shoes."]
KEYS = {
    "bleu",
    "chrf",
    "signature",
    "sentences",
    "target_tokens",
    "seconds",
    "tokens_per_second",
    "peak_rss_mb",
    "precision",
    "gemm",
    "ter",
    "signatures",
}
SHORT = ["--max-length", "8", "--streams", "1"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of one tiny model, by way of the command line: float, calibrated, int8."""
    place = tmp_path_factory.mktemp("models")
    model = tiny_model(max_length=12)
    save_folder(model, place / "float", MarianTokenizer(FOLDER))
    save_folder(model, place / "bare")
    data = write(place / "data.en", SENTENCES)
    run("calibrate", place / "float", "--data", data, "-o", place / "calibrated",
        "--json", place / "calibrate.json")  # fmt: skip
    run("convert", place / "calibrated", "-o", place / "int8", "--weight-bits", "7",
        "--json", place / "convert.json")  # fmt: skip
    return place


def run(*arguments):
    assert main([str(a) for a in arguments]) == 0


def write(path, lines):
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def fails(capfd, *arguments):
    """The one line on stderr of a command that fails."""
    capfd.readouterr()
    assert main([str(a) for a in arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"keras-int8nmt {arguments[0]}: ")
    assert err.count("\n") == 1
    return err


def test_calibrate_and_convert_give_folders_with_cards(folders):
    card = json.loads((folders / "calibrated" / "model_card.json").read_text())
    assert (card["state"], card["thresholds_mode"]) == ("calibrated", "independent")
    assert card["data"] == {"source": "data.en", "targets": "greedy", "sentences": 3}
    card = json.loads((folders / "int8" / "model_card.json").read_text())
    assert (card["state"], card["precision"]) == ("converted", "int8")
    assert card["thresholds_mode"] == "independent"
    assert json.loads((folders / "calibrate.json").read_text())["sentences"] == 3
    converted = json.loads((folders / "convert.json").read_text())
    assert converted["weight_bits"] == 7
    assert {k: converted[k] for k in ("rows", "weight_bits")} == card["conversion_report"]


def test_convert_takes_softmax_and_layer_norm_in_whole_numbers(folders, tmp_path):
    run("convert", folders / "calibrated", "-o", tmp_path / "whole", "--softmax", "integer",
        "--layer-norm", "integer")  # fmt: skip
    block = open_model(tmp_path / "whole")[0].decoder_blocks[0]
    assert block.cross_attention.softmax == block.ffn_norm.arithmetic == "integer"


def test_targets_are_used_and_must_be_as_many(folders, tmp_path, capfd):
    targets = write(tmp_path / "data.de", ["Wo ist der Bahnhof?", "", "Es regnet.", "Mein Hund."])
    few = write(tmp_path / "few.de", ["Wo?"])
    options = ["calibrate", folders / "float", "--data", folders / "data.en"]
    output = tmp_path / "out"
    err = fails(capfd, *options, "--targets", few, "-o", output)
    assert "data.en has 4 lines" in err
    assert "few.de 1" in err
    assert not output.exists()
    run(*options, "--targets", targets, "--mode", "naive", "-o", output)
    card = json.loads((output / "model_card.json").read_text())
    assert card["thresholds_mode"] == "naive"
    assert card["data"]["targets"] == "data.de"


def test_calibration_by_decoding_and_its_options_stand_in_the_card(folders, tmp_path, capfd):
    options = ["calibrate", folders / "float", "--data", folders / "data.en"]
    run(*options, "-o", tmp_path / "c", "--feed", "beam", "--beam-size", "2",
        "--mode", "percentile:99.5", "--no-unsigned")  # fmt: skip
    run("convert", tmp_path / "c", "-o", tmp_path / "int8")
    for name in ("c", "int8"):
        card = json.loads((tmp_path / name / "model_card.json").read_text())
        assert (card["thresholds_mode"], card["unsigned"]) == ("percentile:99.5", False)
        assert card["data"]["targets"] == "beam 2"
    rows = json.loads((tmp_path / "int8" / "model_card.json").read_text())["conversion_report"]
    hidden = [row for row in rows["rows"] if "/ffn_out" in row["name"]]
    assert hidden
    assert all(low == -high for low, high in (row["thresholds"] for row in hidden))
    for words, message in (
        (["--beam-size", "2"], "--feed beam alone"),
        (["--feed", "beam", "--targets", folders / "data.en"], "targets are given"),
    ):
        assert message in fails(capfd, *options, "-o", tmp_path / "no", *words)
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("mode", ["kl", "percentile:200"])
def test_an_unknown_mode_is_named(capfd, mode):
    with pytest.raises(SystemExit) as error:
        main(["calibrate", "model", "--data", "d", "-o", "o", "--mode", mode])
    assert error.value.code == 2
    assert mode in capfd.readouterr().err


@pytest.mark.slow
def test_a_balanced_model_is_calibrated_and_converted_by_a_recipe(folders, tmp_path):
    options = ["calibrate", folders / "float", "--data", folders / "data.en", "--balance"]
    run(*options, "-o", tmp_path / "half")
    run(*options, "0.25", "-o", tmp_path / "quarter")
    recipe = ["--weights", "per_tensor", "--bias-correction"]
    run("convert", tmp_path / "quarter", *recipe, "-o", tmp_path / "int8")
    cards = {
        name: json.loads((tmp_path / name / "model_card.json").read_text())
        for name in ("half", "quarter", "int8")
    }
    assert (cards["half"]["state"], cards["half"]["balance"]) == ("calibrated", 0.5)
    assert (cards["quarter"]["state"], cards["quarter"]["balance"]) == ("calibrated", 0.25)
    converted = cards["int8"]
    assert (converted["state"], converted["balance"]) == ("converted", 0.25)
    assert (converted["weights"], converted["bias_correction"]) == ("per_tensor", True)
    source = write(tmp_path / "in.en", SENTENCES)
    # The same float function: the same translations, thresholds or not.
    for kind in (folders / "float", tmp_path / "half", tmp_path / "int8"):
        run("translate", kind, source, "-o", tmp_path / f"{kind.name}.de", *SHORT)
    texts = [(tmp_path / f"{name}.de").read_text() for name in ("float", "half")]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_a_file_is_translated_line_by_line(folders, tmp_path, kind):
    source = tmp_path / "in.en"
    # No line feed at the end, a byte order mark, ends of Windows and odd separators inside.
    source.write_bytes("\ufeffOne two.\r\n\r\nA\u2028B\u0085C\n\n  \nlast".encode())
    run("translate", folders / kind, source, "-o", tmp_path / "out", *SHORT)
    content = (tmp_path / "out").read_bytes().decode()
    lines = content.split("\n")
    assert len(lines) == 6 + 1
    assert all(lines[i] == "" for i in (1, 3, 4, 6))
    again = tmp_path / "again"
    json_file = tmp_path / "figures.json"
    one = ["--batch-size", "1"]
    run("translate", folders / kind, source, "-o", again, *SHORT, *one, "--json", json_file)
    assert again.read_bytes().decode() == content
    figures = json.loads(json_file.read_text())
    assert figures["sentences"] == 6
    assert figures["precision"] == {"float": "float32", "int8": "int8"}[kind]


def test_evaluate_gives_its_figures_and_records_them(folders, tmp_path, capfd):
    source, reference = folders / "data.en", write(tmp_path / "ref.de", SENTENCES)
    run("evaluate", folders / "int8", "--src", source, "--ref", reference,
        "--json", tmp_path / "f.json", "--record", *SHORT)  # fmt: skip
    figures = json.loads((tmp_path / "f.json").read_text())
    assert set(figures) == KEYS
    assert figures["sentences"] == 4
    card = json.loads((folders / "int8" / "model_card.json").read_text())
    assert card["bleu"]["bleu"] == figures["bleu"]
    assert card["bleu"]["beam_size"] == 4
    assert "BLEU" in capfd.readouterr().out


@pytest.mark.parametrize(("kind", "word"), [("int8", "MatMuls in INT8"), ("calibrated", "from")])
def test_report_prints_a_table(folders, tmp_path, capfd, kind, word):
    run("report", folders / kind, "--json", tmp_path / "r.json")
    out = capfd.readouterr().out
    assert word in out
    assert "thresholds_mode: independent" in out
    rows = json.loads((tmp_path / "r.json").read_text())["rows"]
    assert all(row["name"] in out for row in rows)
    assert rows


def test_nothing_is_overwritten_without_force(folders, tmp_path, capfd):
    source, output = folders / "data.en", write(tmp_path / "out.de", ["precious"])
    for command in (
        ["translate", folders / "float", source, "-o", output],
        ["convert", folders / "calibrated", "-o", folders / "int8"],
        ["calibrate", folders / "float", "--data", source, "-o", folders / "float"],
    ):
        assert "force" in fails(capfd, *command)
    assert output.read_text() == "precious\n"
    run("translate", folders / "float", source, "-o", output, "--force", *SHORT)
    assert len(output.read_text().split("\n")) == 5


def test_bad_input_is_one_line(folders, tmp_path, capfd):
    latin = tmp_path / "latin.txt"
    latin.write_bytes(b"good\ngr\xfc\xdfe\n")
    empty = write(tmp_path / "empty.en", ["", " "])
    good, model = folders / "data.en", folders / "float"
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "model_card.json").write_text("{")
    cases = [
        (["translate", model, latin], "latin.txt, line 2: not UTF-8 (byte 0xfc at byte 3"),
        (["translate", model, tmp_path / "no.txt"], "no.txt"),
        (["translate", model, tmp_path], tmp_path.name),
        (["translate", tmp_path / "no", good], "There is no model folder"),
        (["translate", tmp_path, good], "is not a model folder"),
        (["translate", damaged, good], "model_card.json"),
        (["translate", folders / "bare", good], "no tokenizer"),
        (["translate", model, good, "-o", tmp_path / "no" / "out"], "no folder"),
        (["translate", model, good, "--json", tmp_path / "no" / "f"], "no folder"),
        (["evaluate", model, "--src", good, "--ref", empty], "4 lines"),
        (["evaluate", GOLDEN, "--src", good, "--ref", good, "--record"], "model_card.json"),
        (["calibrate", model, "--data", empty, "-o", tmp_path / "x"], "no sentence"),
        (["calibrate", folders / "int8", "--data", good, "-o", tmp_path / "x"], "not a float"),
        (["convert", model, "-o", tmp_path / "x"], "calibrate first"),
        (["convert", folders / "int8", "-o", tmp_path / "x"], "converted already"),
        (["report", model], "neither calibrated nor converted"),
    ]
    for arguments, message in cases:
        assert message in fails(capfd, *arguments)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--beam-size", "0"],
        ["--batch-size", "two"],
        ["--length-penalty", "-1"],
        ["--length-penalty", "nan"],
        ["--streams", "many"],
    ],
)
def test_bad_options_are_named(capfd, words):
    with pytest.raises(SystemExit) as error:
        main(["translate", "model", *words])
    assert error.value.code == 2
    assert words[0] in capfd.readouterr().err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["calibrate", "model", "--data", "f", "-o", "x"], ["--balance", "1.5"]),
        (["convert", "model", "-o", "x"], ["--weights", "per_row"]),
    ],
)
def test_bad_recipes_are_named(capfd, command, words):
    with pytest.raises(SystemExit) as error:
        main([*command, *words])
    assert error.value.code == 2
    assert words[0] in capfd.readouterr().err


def user_environment(**variables):
    """This environment, without what a developer may have set."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    return environment


def test_the_command_reads_stdin_and_is_quiet(folders):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "keras_int8nmt.cli",
            "translate",
            folders / "int8",
            *SHORT,
            "--quiet",
        ],
        input="Grüße\n\nTwo.\n".encode(),
        capture_output=True,
        env=user_environment(PYTHONIOENCODING="ascii"),
        check=True,
    )
    # The model is not trained, so that it may come to no end; nothing else is told.
    assert all(b"ran into the length limit" in line for line in done.stderr.splitlines())
    assert done.stdout.count(b"\n") == 3
    assert done.stdout.split(b"\n")[1] == b""


@pytest.mark.parametrize("command", ["report", "translate", "info"])
def test_a_wrong_setting_of_the_native_library_is_one_line(folders, command):
    done = subprocess.run(
        [sys.executable, "-m", "keras_int8nmt.cli", command, folders / "int8"],
        env=user_environment(KERAS_INT8NMT_NATIVE="perhaps"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"keras-int8nmt {command}: KERAS_INT8NMT_NATIVE is 'perhaps'")
    assert done.stderr.count("\n") == 1


def test_the_version_needs_no_tensorflow():
    code = (
        "import sys; from keras_int8nmt.cli import main\n"
        "try: main(['--version'])\n"
        "except SystemExit: assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=user_environment(),
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout == f"keras-int8nmt {__version__}\n"


def test_the_marian_folder_is_a_model(shared_data, tmp_path):
    folder = Path(shared_data) / "models" / "marian-tiny-en-de"
    source = write(tmp_path / "in.en", ["Where is the station?"])
    run("translate", folder, source, "-o", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "Wo ist der Bahnhof?\n"
