"""`State`: what was measured is there again; what is cut off, foreign or of another run is not."""

from __future__ import annotations

import pytest

from keras_int8nmt.autotuning.state import State, StateError, digest

OF = ["plain", {"weights": "per_tensor"}, None, ["a", "b"]]


def test_numbers_are_there_for_the_same_run_alone(tmp_path):
    path = tmp_path / "state.jsonl"
    one, other = State(path, "one"), State(path, "other")
    one.add(OF, 31.25)
    other.add(OF, 7.0)
    one.add(["float32"], 0.1 + 0.2)
    assert State(path, "one").get(OF) == 31.25
    assert State(path, "one").get(["float32"]) == 0.1 + 0.2
    assert State(path, "other").get(OF) == 7.0
    assert State(path, "third").get(OF) is None


def test_a_line_that_was_cut_off_is_measured_again(tmp_path):
    path = tmp_path / "state.jsonl"
    state = State(path, "run")
    state.add(["a"], 1.0)
    state.add(["b"], 2.0)
    path.write_bytes(path.read_bytes()[:-6])
    state = State(path, "run")
    assert (state.get(["a"]), state.get(["b"])) == (1.0, None)
    state.add(["b"], 2.0)
    assert State(path, "run").get(["b"]) == 2.0


def test_a_run_that_was_killed_at_its_first_number_begins_anew(tmp_path):
    path = tmp_path / "state.jsonl"
    State(path, "run").add(["a"], 1.0)
    path.write_bytes(path.read_bytes()[:12])
    State(path, "run").add(["a"], 1.0)
    assert State(path, "run").get(["a"]) == 1.0


@pytest.mark.parametrize(
    "content", [b"Precious text.\n", b"\xff\xfe\x00", b"[1, 2]\n", b'{"a": 1}\n']
)
def test_a_file_of_another_kind_is_not_written_to(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(StateError, match=r"notes\.txt"):
        State(path, "run")
    assert path.read_bytes() == content


def test_lines_without_a_number_are_left_alone(tmp_path):
    path = tmp_path / "state.jsonl"
    State(path, "run").add(["a"], 1.0)
    for number in ("NaN", "true", '"1"', "null"):
        with path.open("a") as file:
            file.write(f'{{"run": "run", "of": ["b"], "number": {number}}}\n')
    assert State(path, "run").get(["b"]) is None
    assert State(path, "run").get(["a"]) == 1.0


def test_without_a_file_numbers_are_in_memory():
    state = State(None, "run")
    state.add(OF, 3.0)
    assert state.get(OF) == 3.0


def test_digests_tell_contents_apart():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1, "b": 3})


def test_what_belongs_to_a_number_is_there_with_it(tmp_path):
    path = tmp_path / "state.jsonl"
    State(path, "run").add(OF, 1.5, error=0.25, sentences=[[1, 2], [3, 4]])
    State(path, "run").add(["b"], 2.0)
    state = State(path, "run")
    assert state.more(OF) == {"error": 0.25, "sentences": [[1, 2], [3, 4]]}
    assert state.more(["b"]) == state.more(["c"]) == {}
    path.write_text(path.read_text().replace("[3, 4]", '[3, "x"]'))
    assert State(path, "run").get(OF) is None
