"""What the service's addresses answer, against the translator itself."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from types import SimpleNamespace

import pytest

from keras_int8nmt import load_translator

TEXT = "Where is the station? It rains.\n\n  My dog likes the old red shoes. "
SENTENCES = ["Where is the station?", "It rains.", "My dog likes the old red shoes."]


@pytest.fixture(scope="module")
def translators(folders):
    loaded = {
        name: load_translator(folders / name, beam_size=2, num_hypotheses=2, max_length=8)
        for name in ("int8", "float")
    }
    yield loaded
    for translator in loaded.values():
        translator.close()


def ask(client, path="/translate", **fields):
    response = client.post(path, json={"source": "en", "target": "de", **fields})
    assert response.status_code == 200, response.text
    return response.json()


def test_a_text_is_its_sentences_translated_and_the_white_space_between_them(client, translators):
    station, rain, dog = translators["int8"](SENTENCES)
    assert ask(client, q=TEXT) == {"translatedText": f"{station} {rain}\n\n  {dog} "}


def test_a_list_is_answered_by_a_list(client, translators):
    assert ask(client, q=SENTENCES)["translatedText"] == translators["int8"](SENTENCES)
    assert ask(client, q=[])["translatedText"] == []
    assert ask(client, q=["", " \n"])["translatedText"] == ["", " \n"]


def test_forms_are_answered_as_json_is(client):
    expected = ask(client, q="It rains.")
    fields = {"q": "It rains.", "source": "en", "target": "de", "alternatives": "0"}
    assert client.post("/translate", data=fields).json() == expected
    parts = {name: (None, value) for name, value in fields.items()}
    assert client.post("/translate", files=parts).json() == expected


def test_alternatives_are_the_further_hypotheses(client, translators):
    (result,) = translators["int8"].translate(["It rains."])
    best, second = (hypothesis.text for hypothesis in result.hypotheses)
    answer = ask(client, q="It rains.", alternatives=1)
    assert answer == {"translatedText": best, "alternatives": [second]}
    # The beam has no third one, and none is made up.
    assert ask(client, q=["It rains."], alternatives=3)["alternatives"] == [[second]]


def test_the_model_of_a_precision_can_be_asked_for(client, translators):
    for precision, name in (("float32", "float"), ("mixed", "int8")):
        answer = ask(client, q=SENTENCES, precision=precision)
        assert answer["translatedText"] == translators[name](SENTENCES)


def test_a_language_without_a_model_of_its_own_is_reached_through_the_pivot(client, translators):
    middle = translators["int8"](SENTENCES)
    assert middle != SENTENCES
    answer = ask(client, q=SENTENCES, target="fr")
    assert answer["translatedText"] == translators["int8"](middle)


def test_no_pivot_is_taken_unless_it_was_told(make_client):
    client = make_client(pivots=())
    response = client.post("/translate", json={"q": "a", "source": "en", "target": "fr"})
    assert response.status_code == 400
    assert response.json()["error"] == "No model goes from en to fr; see /languages."


def test_a_text_in_the_target_language_stays(client):
    assert ask(client, q=TEXT, target="en")["translatedText"] == TEXT


def test_the_language_is_found_for_each_text(client, translators):
    german = "Guten Morgen, das Wetter ist heute sehr schön."
    answer = ask(client, q=["My dog likes the old shoes.", german, "123"], source="auto")
    assert [each["language"] for each in answer["detectedLanguage"]] == ["en", "de", "en"]
    assert answer["translatedText"][:2] == [
        *translators["int8"](["My dog likes the old shoes."]),
        german,
    ]
    found = client.post("/detect", data={"q": german}).json()
    assert found[0]["language"] == "de"
    assert found[0]["confidence"] > 90
    assert client.post("/detect", json={"q": "..."}).json() == []


def test_html_keeps_its_tags_and_translations_are_escaped(client, translators):
    html = (
        '<p class="x">It rains. <b>Where is the station?</b></p>'
        '<p translate="no">It rains.</p><code>It rains.</code>'
    )
    rain, station = translators["int8"](["It rains.", "Where is the station?"])
    assert ask(client, q=html, format="html")["translatedText"] == html.replace(
        '"x">It rains.', f'"x">{rain}'
    ).replace("Where is the station?", station)


def test_a_stream_tells_each_sentence_and_then_the_whole(client, translators):
    response = client.post(
        "/translate/stream",
        json={"q": [TEXT, "It rains."], "source": "en", "target": "de", "alternatives": 1},
    )
    assert response.headers["content-type"] == "application/x-ndjson"
    *lines, last = map(json.loads, response.text.splitlines())
    station, rain, dog = translators["int8"](SENTENCES)
    told = {(line["index"], line["sentence"]): line["translatedText"] for line in lines}
    assert told == {(0, 0): station, (0, 1): rain, (0, 2): dog, (1, 0): rain}
    whole = ask(client, q=[TEXT, "It rains."], alternatives=1)
    assert last == {"done": True, **whole}


def test_files_are_translated_and_fetched(client, translators):
    (rain,) = translators["int8"](["It rains."])
    for name, content, expected in (
        ("a.txt", "\ufeffIt rains.\n" * 600, f"{rain}\n" * 600),
        ("A.HTM", "<b>It rains.</b>", f"<b>{rain}</b>"),
    ):
        response = client.post(
            "/translate_file",
            data={"source": "en", "target": "de"},
            files={"file": (name, content.encode())},
        )
        assert response.status_code == 200, response.text
        fetched = client.get(response.json()["translatedFileUrl"])
        assert fetched.text == expected
        assert fetched.headers["content-disposition"] == "attachment"


def test_the_folder_of_files_is_removed_by_the_process_that_made_it_alone(
    folders, tmp_path, monkeypatch
):
    from starlette.testclient import TestClient

    from keras_int8nmt.serving import app as module
    from keras_int8nmt.serving import create_app

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for process, left in ((-1, 1), (os.getpid(), 0)):
        served = create_app([str(folders / "int8")], streams=1)
        (folder,) = tmp_path.iterdir()
        with monkeypatch.context() as forked:
            forked.setattr(module, "os", SimpleNamespace(getpid=lambda process=process: process))
            with TestClient(served) as client:
                assert client.get("/ready").status_code == 200
        assert len(list(tmp_path.iterdir())) == left
        shutil.rmtree(folder, ignore_errors=True)


def test_languages_and_settings_say_what_can_be_translated(client):
    assert client.get("/languages").json() == [
        {"code": "de", "name": "German", "targets": ["fr"]},
        {"code": "en", "name": "English", "targets": ["de", "fr"]},
    ]
    assert client.post("/languages", data={}).json() == client.get("/languages").json()
    settings = client.get("/frontend/settings").json()
    assert settings["language"]["target"] == {"code": "de", "name": "German"}
    assert {"source": "en", "target": "de", "precision": "float32"} in settings["models"]
    assert settings["keyRequired"] is False


def test_health_metrics_and_schema(client):
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready"}
    before = client.get("/metrics").text
    ask(client, q=SENTENCES)
    after = client.get("/metrics").text

    def count(text, name):
        return sum(float(x.split()[-1]) for x in text.splitlines() if x.startswith(name))

    pair = 'sentences_total{pair="en-de",precision="mixed"}'
    assert count(after, f"keras_int8nmt_{pair}") - count(before, f"keras_int8nmt_{pair}") == 3
    assert count(after, "keras_int8nmt_queue_sentences") == 0
    schema = client.get("/openapi.json").json()
    body = schema["paths"]["/translate"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"]["properties"]["target"]["enum"] == ["de", "en", "fr"]


def test_other_pages_may_not_ask_unless_told(client, make_client):
    origin = {"Origin": "https://example.org"}
    assert "access-control-allow-origin" not in client.get("/languages", headers=origin).headers
    open_client = make_client(origins=("https://example.org",))
    response = open_client.get("/languages", headers=origin)
    assert response.headers["access-control-allow-origin"] == "https://example.org"
    other = open_client.get("/languages", headers={"Origin": "https://example.com"})
    assert "access-control-allow-origin" not in other.headers
