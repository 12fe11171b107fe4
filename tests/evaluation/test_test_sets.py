"""sacreBLEU's test sets by name: from its cache folder, and what is said where there is none."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from helpers.sacrebleu_cache import FIELDS, environment, prepare

from keras_int8nmt.evaluation.test_sets import NamedSetError, known_sets, load_named_set

PROGRAM = """
import json, sys
from keras_int8nmt.evaluation.test_sets import NamedSetError, load_named_set
try:
    found = load_named_set(*sys.argv[1:])
    print(json.dumps([found.sources, found.references, found.label]))
except NamedSetError as error:
    print(json.dumps(str(error)))
"""


def load_elsewhere(cache, name, pair):
    """What another process finds."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, name, pair],
        env=environment(cache),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_a_set_in_the_cache_folder_needs_no_network(tmp_path):
    prepare(tmp_path)
    sources, references, label = load_elsewhere(tmp_path, "wmt14/full", "en-de")
    assert sources == FIELDS["src"]
    assert references == [FIELDS["ref"]]
    assert label == {"test": "wmt14/full", "lang": "en-de"}


def test_without_network_the_set_the_folder_and_the_way_out_are_named(tmp_path):
    message = load_elsewhere(tmp_path, "wmt14", "en-de")
    assert message.startswith(f"The test set 'wmt14' (en-de) is not in {tmp_path / 'wmt14'} and ")
    assert "can't be downloaded: " in message
    assert "refused" in message
    assert "--src and --ref" in message


def test_a_damaged_set_is_refused(tmp_path):
    prepare(tmp_path, "wmt14", ref=["Eins ."])
    message = load_elsewhere(tmp_path, "wmt14", "en-de")
    assert "not as many lines: wmt14.en-de.src 3, wmt14.en-de.ref 1" in message


def test_unknown_sets_and_pairs_are_told_those_that_there_are():
    with pytest.raises(NamedSetError) as error:
        load_named_set("wmt1914", "en-de")
    assert "no test set 'wmt1914'; it has: " in str(error.value)
    assert " wmt14, wmt14/full, " in str(error.value)
    assert {"wmt14", "wmt14/full", "wmt20", "iwslt17"} <= set(known_sets())
    with pytest.raises(NamedSetError, match="no language pair 'en-zu'; it has: cs-en, de-en, "):
        load_named_set("wmt14", "en-zu")
