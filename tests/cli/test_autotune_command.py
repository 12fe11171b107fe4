"""`keras-int8nmt autotune` and `convert --policy`."""

from __future__ import annotations

import json

import pytest
from helpers.models import calibrate_on_sentences, tiny_model

from keras_int8nmt import MarianTokenizer, load_folder, save_folder
from keras_int8nmt.cli import main
from keras_int8nmt.storage.builtin import FOLDER

pytestmark = pytest.mark.usefixtures("without_graphs")

SENTENCES = ["Where is the station?", "", "It rains. ", "My dog likes the old red shoes."]
SEARCH = ["--max-length", "8", "--streams", "1"]
FFN = "transformer/decoder_block_0/ffn_out"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A calibrated model and two files of text."""
    place = tmp_path_factory.mktemp("autotune")
    model = tiny_model(max_length=12)
    tokenizer = MarianTokenizer(FOLDER)
    save_folder(model, place / "float", tokenizer)
    calibrate_on_sentences(model, tokenizer, SENTENCES, SENTENCES)
    save_folder(model, place / "calibrated", tokenizer, {"thresholds_mode": "symmetric"})
    (place / "src").write_text("".join(line + "\n" for line in SENTENCES))
    (place / "ref").write_text("".join(line + "\n" for line in SENTENCES))
    return place


def run(*arguments):
    assert main([str(a) for a in arguments]) == 0


def fails(capfd, *arguments):
    capfd.readouterr()
    assert main([str(a) for a in arguments]) == 2
    return capfd.readouterr().err


def autotuning(place, *arguments):
    return ["autotune", place / "calibrated", "--src", place / "src", "--ref", place / "ref",
            *SEARCH, *arguments]  # fmt: skip


def test_a_policy_is_found_and_convert_takes_it(place, tmp_path, capfd):
    policy, figures = tmp_path / "policy.json", tmp_path / "figures.json"
    # All translations of this model are as bad, so INT8 is good enough in either mode.
    modes = ["--mode", "naive", "--mode", "independent"]
    run(*autotuning(place, *modes, "--state", tmp_path / "state", "-o", policy, "--json", figures))
    out = capfd.readouterr().out
    assert "1 all INT8" in out
    assert "23 of 23 MatMuls in INT8, plain, " in out
    content = json.loads(policy.read_text())
    assert content == json.loads(figures.read_text())
    assert (content["confidence"], content["sentences"]) == (0.95, 4)
    assert [trial["mode"] for trial in content["trials"]] == ["naive", "independent"]
    assert (tmp_path / "state").read_text().count("\n{") == 3
    assert "exists already" in fails(capfd, *autotuning(place, "-o", policy))
    run("convert", place / "calibrated", "--policy", policy, "-o", tmp_path / "int8")
    model, _, card = load_folder(tmp_path / "int8")
    assert card["thresholds_mode"] == content["mode"]
    assert model.conversion_report.precision == "int8"


def test_a_policy_of_dynamic_scales_leaves_attention_float_and_is_told_by_the_card(place, tmp_path):
    policy = tmp_path / "policy.json"
    twice = ["--candidate", "dynamic scales"] * 2
    run(*autotuning(place, *twice, "-o", policy))
    content = json.loads(policy.read_text())
    floats = [name for name, precision in content["assignment"].items() if precision == "float32"]
    assert len(content["assignment"]) == 23
    assert len(floats) == 6
    assert all(name.endswith(("/QK", "/AV")) for name in floats)
    run("convert", place / "calibrated", "--policy", policy, "-o", tmp_path / "int8")
    _, _, card = load_folder(tmp_path / "int8")
    assert card["activations"] == "dynamic"
    assert "thresholds_mode" not in card
    rows = card["conversion_report"]["rows"]
    assert [row["name"] for row in rows if row["precision"] == "float32"] == floats


def test_the_card_names_the_options_of_the_policys_candidate(place, tmp_path):
    policy = tmp_path / "policy.json"
    modes = ["--mode", "percentile:99.9", "--candidate", "bias correction"]
    run(*autotuning(place, *modes, "-o", policy))
    run("convert", place / "calibrated", "--policy", policy, "-o", tmp_path / "int8")
    _, _, card = load_folder(tmp_path / "int8")
    assert (card["bias_correction"], card["thresholds_mode"]) == (True, "percentile:99.9")


def test_int8_after_relu_stays_asked_for_when_thresholds_are_chosen_again(place, tmp_path):
    signed = tmp_path / "signed"
    run("calibrate", place / "float", "--data", place / "src", "--targets", place / "ref",
        "--no-unsigned", "-o", signed)  # fmt: skip
    policy = tmp_path / "policy.json"
    run("autotune", signed, "--src", place / "src", "--ref", place / "ref", *SEARCH,
        "--mode", "symmetric", "-o", policy)  # fmt: skip
    assert json.loads(policy.read_text())["unsigned"] is False
    run("convert", signed, "--policy", policy, "-o", tmp_path / "int8")
    model, _, card = load_folder(tmp_path / "int8")
    assert card["unsigned"] is False
    (row,) = (row for row in model.conversion_report.rows if row.name == FFN)
    assert row.thresholds[0] == -row.thresholds[1]


@pytest.mark.parametrize(("policy", "floats"), [("int8", 0), ("float32", 23), ("paper", 8)])
def test_convert_knows_policies_by_name(place, tmp_path, policy, floats):
    run("convert", place / "calibrated", "--policy", policy, "-o", tmp_path / "out")
    _, _, card = load_folder(tmp_path / "out")
    rows = card["conversion_report"]["rows"]
    assert sum(row["precision"] == "float32" for row in rows) == floats
    assert card["thresholds_mode"] == "symmetric"


def test_convert_takes_a_plain_mapping(place, tmp_path):
    (tmp_path / "policy.json").write_text(json.dumps({FFN: "float32"}))
    run("convert", place / "calibrated", "--policy", tmp_path / "policy.json",
        "-o", tmp_path / "out")  # fmt: skip
    _, _, card = load_folder(tmp_path / "out")
    rows = card["conversion_report"]["rows"]
    assert [row["name"] for row in rows if row["precision"] == "float32"] == [FFN]


def test_bad_input_is_one_line(place, tmp_path, capfd):
    empty, other, notes = (tmp_path / name for name in ("empty", "other.json", "notes"))
    empty.write_text("\n \n\n\n")
    other.write_text(json.dumps({"no/such": "int8"}))
    notes.write_text("precious\n")
    out = ["-o", tmp_path / "out"]
    convert = ["convert", place / "calibrated", *out, "--policy"]
    files = ["--src", place / "src", "--ref", place / "ref"]
    cases = [
        (autotuning(place, "--src", empty, *out), "no sentence"),
        (autotuning(place, "--ref", other, *out), "src has 4 lines"),
        (autotuning(place, "--candidate", "fast", *out), "no candidate 'fast'"),
        (autotuning(place, "--state", notes, *out), "not a state file"),
        (["autotune", place / "float", *files, *out], "calibrate first"),
        ([*convert, "papers"], "none of int8, paper, float32, and no file"),
        ([*convert, other], "no MatMul 'no/such'"),
        ([*convert, notes], "notes"),
    ]
    for arguments, message in cases:
        err = fails(capfd, *arguments)
        assert message in err
        assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert notes.read_text() == "precious\n"
