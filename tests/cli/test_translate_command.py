"""`keras-int8nmt translate` as a process: killed, interrupted, without space, resumed."""

from __future__ import annotations

import functools
import gzip
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time

import pytest
from helpers.models import calibrate_on_sentences, tiny_model

from keras_int8nmt import MarianTokenizer, convert, save_folder
from keras_int8nmt.cli import main
from keras_int8nmt.storage.builtin import FOLDER, read_pairs

SENTENCES = [source for source, _ in read_pairs()[1]][:200]
GREEDY = ["--beam-size", "1", "--max-length", "10", "--window", "8", "--batch-size", "4"]
KILLS = 20


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a small INT8 model, 200 sentences and their translations in one run."""
    place = tmp_path_factory.mktemp("files")
    model = tiny_model(max_length=40)
    tokenizer = MarianTokenizer(FOLDER)
    calibrate_on_sentences(model, tokenizer, SENTENCES[:4])
    save_folder(convert(model), place / "model", tokenizer)
    (place / "in.en").write_text("".join(s + "\n" for s in SENTENCES), "utf-8")
    assert translate(place, "whole.de") == 0
    return place


def words(place, target, *options):
    return [
        "translate", place / "model", place / "in.en", "-o", place / target, *GREEDY, *options
    ]  # fmt: skip


def translate(place, target, *options):
    return main([str(word) for word in words(place, target, *options)])


def start(place, target, *options, **process):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    return subprocess.Popen(
        [sys.executable, "-m", "keras_int8nmt.cli", *words(place, target, *options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
        **process,
    )


def written(place, target):
    """Lines that the journal counts; 0 without one."""
    try:
        return json.loads((place / f"{target}.progress").read_text())["lines"]
    except FileNotFoundError:
        return 0


def wait_for_lines(process, place, target, more_than):
    while process.poll() is None and written(place, target) <= more_than:
        time.sleep(0.001)


def figures(place, capfd, target, *options):
    capfd.readouterr()
    assert translate(place, target, *options, "--json", place / "f.json") == 0
    return json.loads((place / "f.json").read_text()), capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_20_times_it_gives_the_bytes_of_one_run(place):
    """A fourth of the kills at any moment of a process, the others soon after it wrote something.

    A run that is finished is compared and begun anew, until there were enough kills.
    """
    chance, kills, runs, middle = random.Random(5), 0, 0, 0
    whole = (place / "whole.de").read_bytes()
    began = time.monotonic()
    start(place, "timed.de").communicate()
    took = time.monotonic() - began
    assert (place / "timed.de").read_bytes() == whole
    while kills < KILLS or runs == 0:
        before = written(place, "killed.de")
        process = start(place, "killed.de", "--resume")
        if kills < KILLS:
            if kills % 4 == 0:
                time.sleep(chance.uniform(0, took))
            else:
                wait_for_lines(process, place, "killed.de", before)
                time.sleep(chance.uniform(0, 0.03))
            process.kill()
        _, err = process.communicate()
        if process.returncode == -signal.SIGKILL:
            kills += 1
            middle += written(place, "killed.de") > before
            continue
        assert process.returncode == 0, err
        assert (place / "killed.de").read_bytes() == whole
        (place / "killed.de").unlink()
        runs += 1
    print(f"{kills} kills, {middle} of them after new lines; {runs} runs finished")
    assert middle >= KILLS // 4


def test_an_interrupt_says_how_to_go_on(place, tmp_path):
    (tmp_path / "model").symlink_to(place / "model")
    content = (place / "in.en").read_text("utf-8")
    (tmp_path / "in.en").write_text(content * 30, "utf-8")
    # A shell lets what it runs in the background ignore interrupts, and that is inherited.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = start(tmp_path, "out.de", preexec_fn=heed)
    wait_for_lines(process, tmp_path, "out.de", 0)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    lines = written(tmp_path, "out.de")
    assert 0 < lines < 30 * 200, err
    assert err.endswith(f"{lines} lines are safe; --resume goes on after them.\n")
    assert translate(tmp_path, "out.de", "--resume") == 0
    assert (tmp_path / "out.de").read_bytes() == (place / "whole.de").read_bytes() * 30


def test_a_full_disk_says_how_to_go_on(place):
    def little_space():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    process = start(place, "full.de", preexec_fn=little_space)
    out, err = process.communicate()
    assert (process.returncode, out) == (2, "")
    assert "full.de.partial can't be written: File too large. " in err
    assert f" {written(place, 'full.de')} lines are safe; --resume goes on after them" in err
    assert translate(place, "full.de", "--resume") == 0
    assert (place / "full.de").read_bytes() == (place / "whole.de").read_bytes()


def test_resume_begins_what_is_not_there_and_leaves_what_is_finished(place, capfd):
    done, err = figures(place, capfd, "fresh.de", "--resume")
    assert (done["sentences"], done["sentences_before"]) == (200, 0)
    summary = rf"keras-int8nmt: 200 lines in .*, {done['unfinished']} ran into the length limit"
    assert re.fullmatch(summary, err.splitlines()[-1])
    assert "the translations of lines 1, 2, 3" in err
    assert done["precision"] == "int8"
    before = (place / "fresh.de").stat().st_mtime_ns
    done, err = figures(place, capfd, "fresh.de", "--resume")
    assert (done["sentences"], done["sentences_before"]) == (200, 200)
    assert err == f"{place / 'fresh.de'} is finished: 200 lines.\n"
    assert (place / "fresh.de").stat().st_mtime_ns == before
    assert (place / "fresh.de").read_bytes() == (place / "whole.de").read_bytes()


def test_resume_refuses_what_is_of_something_else(place, capfd):
    (place / "other.de").write_text("one line\n")
    assert translate(place, "other.de", "--resume") == 2
    assert "other.de has 1 lines and " in capfd.readouterr().err
    assert main(["translate", str(place / "model"), "-o", str(place / "x"), "--resume"]) == 2
    assert "stdin can't be read again" in capfd.readouterr().err
    arguments = ["translate", str(place / "model"), str(place / "in.en"), "--resume"]
    assert main(arguments) == 2
    assert "--resume needs a file to write" in capfd.readouterr().err


@pytest.fixture
def unfinished(place, monkeypatch):
    """An output of which 16 lines are there."""
    from keras_int8nmt.files.journal import JournaledOutput

    append = JournaledOutput.append

    def stop_at_24(self, content, **progress):
        if progress["lines"] > 16:
            raise KeyboardInterrupt
        append(self, content, **progress)

    with monkeypatch.context() as patch:
        patch.setattr(JournaledOutput, "append", stop_at_24)
        assert translate(place, "part.de", "--force") == 130
    assert written(place, "part.de") == 16
    return "part.de"


def test_resume_goes_on_with_the_same_options_alone(place, capfd, unfinished):
    for options, part in (
        (["--beam-size", "2"], "search"),
        (["--window", "9"], "window"),
        (["--input-format", "tsv"], "format"),
    ):
        assert translate(place, unfinished, "--resume", *options) == 2
        assert f"is of a run with another {part} " in capfd.readouterr().err
    with (place / "in.en").open("a") as file:
        file.write("More.\n")
    assert translate(place, unfinished, "--resume") == 2
    assert "another input size" in capfd.readouterr().err
    os.truncate(place / "in.en", (place / "in.en").stat().st_size - len("More.\n"))
    # Others change no answer.
    done, _ = figures(place, capfd, unfinished, "--resume", "--batch-size", "7", "--sort", "none")
    assert (done["sentences"], done["sentences_before"]) == (200, 16)
    assert (place / unfinished).read_bytes() == (place / "whole.de").read_bytes()


def test_another_model_is_refused(place, capfd, unfinished):
    card = place / "model" / "model_card.json"
    content = json.loads(card.read_text())
    content["files"]["vocab.json"]["sha256"] = "0" * 64
    from keras_int8nmt.storage.card import seal_card

    before = card.read_text()
    seal_card(place / "model", content)
    assert translate(place, unfinished, "--resume") == 2
    assert "is of a run with another model " in capfd.readouterr().err
    card.write_text(before)


def test_packed_and_structured_files(place, capfd):
    whole = (place / "whole.de").read_text("utf-8").splitlines()
    source = place / "in.jsonl.gz"
    records = [{"id": i, "en": text} for i, text in enumerate(SENTENCES)]
    source.write_bytes(gzip.compress("\n".join(map(json.dumps, records)).encode()))
    options = ["--input-format", "jsonl", "--field", "en", "--output-field", "de"]
    target = place / "out.jsonl.gz"
    arguments = ["translate", place / "model", source, "-o", target, *GREEDY, *options]
    assert main([str(word) for word in arguments]) == 0
    lines = gzip.decompress(target.read_bytes()).decode().splitlines()
    found = [json.loads(line) for line in lines]
    # The model is not trained and comes to no end.
    assert not all([line.pop("finished", True) for line in found])  # noqa: C419
    assert found == [{**record, "de": text} for record, text in zip(records, whole, strict=True)]
    assert re.fullmatch(
        r"keras-int8nmt: 200 lines in [\d.]+ s, \d+ tokens/s(, \d+ ran [a-z ]+)?\n",
        capfd.readouterr().err.split("missing, or they repeat themselves.\n")[-1],
    )


@pytest.mark.filterwarnings("default:.*are cut")
def test_a_source_that_is_cut_is_named_by_its_line(place, capfd):
    (place / "long.en").write_text("One.\n" * 8 + "\n\n" + "Two.\n" + "word " * 60 + "\n", "utf-8")
    arguments = ["translate", place / "model", place / "long.en", *GREEDY]
    assert main([str(word) for word in arguments]) == 0
    out, err = capfd.readouterr()
    assert out.count("\n") == 12
    assert re.match(rf"keras-int8nmt: {place}/long\.en, line 12, has \d+ tokens; longer", err)
    assert err.splitlines()[-1].endswith("1 cut before they were translated")
    assert main([str(word) for word in [*arguments, "--quiet"]]) == 0
    assert "tokens/s" not in capfd.readouterr().err


def test_what_is_asked_wrongly_is_one_line(place, capfd):
    for options, message in (
        (["--field", "x"], "no fields"),
        (["--input-format", "tsv", "--output-field", "de"], "must be a name"),
    ):
        assert translate(place, "wrong.de", *options) == 2
        err = capfd.readouterr().err
        assert message in err
        assert err.count("\n") == 1
    for options in (["--on-error", "hide"], ["--window", "0"], ["--force", "--resume"]):
        with pytest.raises(SystemExit):
            translate(place, "wrong.de", *options)
