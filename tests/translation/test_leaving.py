"""However Python leaves a request, a decoder or itself: no crash, no hang, and the streams go on.

Each program runs without TensorFlow in a process of its own, which a fault of memory would end.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from helpers.models import make_transformer, random_ids

from keras_int8nmt import Translator, convert, native, save_folder
from keras_int8nmt.errors import KerasInt8nmtError

pytestmark = pytest.mark.skipif(
    native.reason() is not None, reason=f"no native library: {native.reason()}"
)

BEGIN = """
import faulthandler, gc, json, os, signal, sys, threading, time
from keras_int8nmt import load_translator

faulthandler.dump_traceback_later(60, exit=True)
translator = load_translator(sys.argv[1], beam_size=4, batch_size=16, streams=2)
few = json.load(sys.stdin)
many = few * 200
expected = translator.translate_ids(few)
"""


@pytest.fixture(scope="module")
def model():
    return convert(make_transformer())


@pytest.fixture(scope="module")
def run(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("leaving") / "int8"
    save_folder(model, folder, keras=False)

    def run(program: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", BEGIN + program, str(folder)],
            input=json.dumps(random_ids(model)),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, (done.returncode, done.stderr)
        return done.stdout

    return run


def test_interrupts_at_the_rate_of_a_held_key_end_a_call_and_nothing_else(run):
    said = run("""
signal.signal(signal.SIGINT, signal.default_int_handler)
interrupts = 0
for _ in range(10):
    over = threading.Event()
    def hold_the_key():
        time.sleep(0.02)
        while not over.is_set():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.003)
    holding = threading.Thread(target=hold_the_key)
    try:
        holding.start()
        try:
            while True:
                translator.translate_ids(many)
        finally:
            over.set()
            time.sleep(0.01)
    except KeyboardInterrupt:
        interrupts += 1
    over.set()
    holding.join()
assert translator.translate_ids(few) == expected
print(interrupts)
""")
    assert said == "10\n"


def test_whoever_stops_waiting_for_sentences_harms_nobody(run):
    said = run("""
def stop(_):
    raise KeyboardInterrupt

engine = translator.native_engine
keys = [len(ids) for ids in many]
kept = []
for way in range(30):
    begun = engine.begin(many, keys)
    try:
        if way % 6 == 0:
            begun.results(stop)
        elif way % 6 == 1:
            del begun
        elif way % 6 == 2:
            begun.cancel()
            begun.cancel()
        elif way % 6 == 3:
            threading.Thread(target=begun.cancel).start()
            begun.results()
        elif way % 6 == 4:
            kept.append(begun)
        elif way % 6 == 5:
            closing = threading.Thread(target=translator.close)
            closing.start()
            try:
                begun.results()
            finally:
                closing.join()
    except (KeyboardInterrupt, RuntimeError):
        pass
    assert translator.translate_ids(few) == expected
for begun in kept:
    try:
        begun.results()
    except RuntimeError as error:
        assert "closed" in str(error), error
print("fine")
""")
    assert said == "fine\n"


def test_a_translator_that_nobody_holds_ends_under_those_who_wait(run):
    said = run("""
for _ in range(5):
    other = load_translator(sys.argv[1], streams=2)
    begun = other.native_engine.begin(many, [len(ids) for ids in many])
    del other
    gc.collect()
    results = begun.results()
    del begun
    assert len(results) == len(many)
assert translator.translate_ids(few) == expected
print("fine")
""")
    assert said == "fine\n"


@pytest.mark.parametrize("end", ["", "sys.exit()", "raise SystemExit"], ids=repr)
def test_python_ends_while_daemon_threads_translate(run, end):
    said = run(f"""
threading.excepthook = lambda _: None
def work():
    while True:
        translator.translate_ids(many)

threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
time.sleep(0.1)
print("end", flush=True)
{end}
""")
    assert said == "end\n"


def test_threads_that_python_waits_for_get_their_answers(run):
    said = run("""
def work():
    time.sleep(0.1)
    print(translator.translate_ids(few) == expected, flush=True)

threading.Thread(target=work).start()
""")
    assert said == "True\n"


def test_every_call_after_close_is_an_error_that_says_so(model):
    with Translator(model, None, path="fast") as translator:
        decoder = translator.native_engine.decoder()
        pending = decoder.begin([[5, 1]], [0])
        pending.results()
        with pytest.raises(RuntimeError, match="were taken"):
            pending.results()
        with decoder.profile() as times:
            decoder.close()
        assert "search" in times
        decoder.close()
        for call in (lambda: decoder.begin([[5, 1]], [0]), lambda: decoder.profile().__enter__()):
            with pytest.raises(RuntimeError, match="it was closed") as told:
                call()
            assert isinstance(told.value, KerasInt8nmtError)


def test_what_the_library_refuses_is_told_apart_from_what_the_machine_lacks(model, monkeypatch):
    with Translator(model, None, path="fast") as translator:
        decoder = translator.native_engine.decoder()
        with pytest.raises(ValueError, match="a sentence has the token -1"):
            decoder.begin([[-1, 1]], [0])
        monkeypatch.setattr(
            decoder._functions, "keras_int8nmt_last_error_is_of_argument", lambda: False
        )
        with pytest.raises(RuntimeError, match="a sentence has the token -1") as told:
            decoder.begin([[-1, 1]], [0])
        assert isinstance(told.value, KerasInt8nmtError)
