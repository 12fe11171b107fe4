"""`AutotuneResult`: a policy, its text and its JSON; what is no policy is refused by name."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from helpers.models import make_transformer

from keras_int8nmt import AutotuneResult, Candidate, convert
from keras_int8nmt.autotuning.candidates import CANDIDATES, PLAIN, find_candidates
from keras_int8nmt.autotuning.result import PolicyFileError, Trial, read_policy
from keras_int8nmt.conversion.transformer import transformer_matmuls

FFN = "transformer/decoder_block_0/ffn_out"


def make_result(**changes):
    assignment = {m.name: "int8" for m in transformer_matmuls(make_transformer())}
    trials = (
        Trial(1, "all INT8", "plain", "symmetric", (), 29.5, 0.5, 0.3, False),
        Trial(2, "frontier", "plain", "symmetric", (FFN,), 29.95, 0.05, 0.34, True),
    )
    entries = {
        "assignment": {**assignment, FFN: "float32"},
        "mode": "symmetric",
        "metric": "BLEU",
        "baseline": 30.0,
        "tolerance": 0.1,
        "budget": 60,
        "chosen": 2,
        "trials": trials,
        "sensitivities": {FFN: 0.25},
        "sensitivity_unit": "KL, nats a token",
    }
    return AutotuneResult(**{**entries, **changes})


def test_it_is_a_policy():
    result = make_result()
    report = convert(make_transformer(), policy=result).conversion_report
    assert {row.name: row.precision for row in report.rows} == dict(result)
    assert result.floats == [FFN]
    assert result.trial.number == 2
    assert len(result) == 23


def test_json_gives_it_back():
    result = make_result()
    again = AutotuneResult.from_json(result.to_json())
    assert again.to_dict() == result.to_dict()
    assert again.trials == result.trials
    assert again.candidate == PLAIN


def test_what_an_earlier_release_wrote_is_read():
    content = make_result().to_dict()
    for name in ("confidence", "sentences", "sentences_needed"):
        del content[name]
    for trial in content["trials"]:
        del trial["error"], trial["margin"]
    again = AutotuneResult.from_dict({**content, "format_version": 1})
    assert again.to_dict() == make_result().to_dict()


def test_a_loss_within_chance_is_told_with_the_sentences_that_would_show_the_tolerance():
    trial = Trial(1, "all INT8", "plain", None, (), 29.88, 0.12, 0.3, True, 0.15, 0.25)
    result = make_result(trials=(trial,), chosen=1, sentences=400, sentences_needed=5563)
    text = result.to_text()
    assert "29.88  +0.12 ± 0.25  0.300  within chance, chosen" in text
    assert (
        "± at 95 %: on 400 sentences a loss of up to 0.25 BLEU can't be told from none; to see one "
        "of 0.1 takes about 5,563 sentences.\n"
    ) in text
    assert "loss 0.12 ± 0.25 of 0.1, which can't be told from none; estimated" in result.summary()
    seen = make_result(trials=(replace(trial, margin=0.05, loss=0.02),), chosen=1, sentences=9000)
    assert "up to 0.05 BLEU can't be told from none.\n" in seen.to_text()
    assert make_result().chance() == ""


def test_a_candidate_that_prepares_is_found_again_by_its_name():
    balance = Candidate("balanced", prepare=lambda model: model, convert_options={"a": 1}, cost=1.5)
    text = make_result(candidate=balance).to_json()
    assert AutotuneResult.from_json(text, [balance]).candidate is balance
    with pytest.raises(PolicyFileError, match="no candidate 'balanced'; there are: 'plain'"):
        AutotuneResult.from_json(text)
    options = Candidate("options", convert_options={"a": 1}, cost=1.5)
    assert AutotuneResult.from_json(make_result(candidate=options).to_json()).candidate == options


def test_the_text_tells_every_trial_and_the_choice():
    text = make_result().to_text()
    assert f"2 frontier  plain, symmetric  {FFN}  29.95  +0.05  0.340  good, chosen" in text
    assert "too lossy" in text
    assert "0.25  float32" in text
    last = text.splitlines()[-1]
    assert last.startswith("22 of 23 MatMuls in INT8, plain, symmetric: BLEU 29.95, float32 30.00")
    assert last.endswith("2 evaluations")
    spent = make_result(chosen=None, exhausted=True).to_text().splitlines()[-1]
    assert "no trial lost 0.1 BLEU or less" in spent
    assert spent.endswith("which is all of the budget")


def changed(**changes):
    return {**make_result().to_dict(), **changes}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "format"),
        (changed(format="other"), "format"),
        (changed(format_version=3), "version 3; this release reads 1 and 2"),
        ({k: v for k, v in changed().items() if k != "mode"}, "must have the entries"),
        (changed(more=1), "must have the entries"),
        (changed(assignment={"a": "int4"}), "'int8' or 'float32'"),
        (changed(chosen=3), "number of one of `trials`"),
        (changed(baseline=None), "`baseline`"),
        (changed(trials=[{"number": 1}], chosen=1), "does not fit"),
        (changed(candidate={}), "does not fit"),
    ],
)
def test_what_is_no_policy_is_refused(content, message, tmp_path):
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(content))
    with pytest.raises(PolicyFileError, match=message):
        AutotuneResult.from_json(path.read_text())
    if isinstance(content, dict):
        with pytest.raises(PolicyFileError, match=r"policy\.json.*" + message):
            read_policy(path)


def test_a_plain_mapping_in_a_file_is_a_policy(tmp_path):
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({FFN: "float32"}))
    assert read_policy(path) == {FFN: "float32"}
    path.write_text(make_result().to_json())
    assert dict(read_policy(path)) == dict(make_result())
    for content in ("{", '{"a": 3}', '["a"]', '{"a": {"b": "int8"}}'):
        path.write_text(content)
        with pytest.raises(PolicyFileError, match=r"policy\.json"):
            read_policy(path)


def test_candidates_are_checked_and_found_by_name():
    assert find_candidates(["plain"]) == (PLAIN,)
    assert PLAIN in CANDIDATES
    with pytest.raises(ValueError, match="no candidate 'fast'; there are: 'plain'"):
        find_candidates(["fast"])
    with pytest.raises(ValueError, match="name must be text"):
        Candidate(" ")
    with pytest.raises(ValueError, match="'a' must be a positive number; received 0"):
        Candidate("a", cost=0)
    with pytest.raises(ValueError, match="`policy` is set by autotune"):
        Candidate("a", convert_options={"policy": "int8"})
