"""The example of docs/training.md runs, and the model that it ends with translates."""

from pathlib import Path

from keras_int8nmt import load_translator


def test_the_example_trains_on_text_and_translates_in_int8(tmp_path, monkeypatch, capsys):
    text = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    code = text.partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/training.md", "exec"), {})
    assert capsys.readouterr().out == "['drei eins vier', 'neun acht']\n"
    translator = load_translator("numbers-int8", beam_size=4)
    assert translator(["five zero two", "seven"]) == ["fünf null zwei", "sieben"]
