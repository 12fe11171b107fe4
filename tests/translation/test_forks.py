"""Forked processes: a child gets an answer or an error at once. Translators that are pickled."""

from __future__ import annotations

import json
import os
import pickle
import select
import signal
import subprocess
import sys
import threading

import pytest
from helpers.models import make_transformer, random_ids, small_model

from keras_int8nmt import Translator, convert, load_translator, native, save_folder
from keras_int8nmt.errors import KerasInt8nmtError

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here"),
    # Python 3.12 warns of what is tested here.
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]
needs_library = pytest.mark.skipif(
    native.reason() is not None, reason=f"no native library: {native.reason()}"
)
SECONDS = 30


def in_child(call) -> str:
    """What `call` gives in a forked child, or the error; a child that hangs fails the test."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = repr(call())
        except BaseException as error:
            said = f"{[kind.__name__ for kind in type(error).__mro__]} {error}"
        os.write(writer, said.encode()[:4096])
        os._exit(0)
    os.close(writer)
    try:
        if not select.select([reader], [], [], SECONDS)[0]:
            os.kill(child, signal.SIGKILL)
            pytest.fail("the child hangs")
        return os.read(reader, 4096).decode()
    finally:
        os.close(reader)
        os.waitpid(child, 0)


def expect_refusal(said: str, words: str) -> None:
    kinds, _, message = said.partition("] ")
    assert "'RuntimeError'" in kinds, said
    assert f"'{KerasInt8nmtError.__name__}'" in kinds, said
    assert words in message, said


@pytest.fixture(scope="module")
def converted():
    return convert(make_transformer())


@pytest.fixture(scope="module")
def folder(converted, tmp_path_factory):
    place = tmp_path_factory.mktemp("forks") / "int8"
    save_folder(converted, place, keras=False)
    return place


@pytest.fixture(scope="module")
def float_folder(tmp_path_factory):
    """Of a model whose products are float32, on whatever back end is the default."""
    place = tmp_path_factory.mktemp("forks") / "float"
    save_folder(convert(make_transformer(), policy="float32"), place, keras=False)
    return place


@pytest.mark.parametrize("used", [True, False], ids=["after it was used", "before it was used"])
def test_the_keras_engine_is_refused_in_a_child_at_once(converted, used):
    ids = random_ids(converted)[:4]
    translator = Translator(converted, None, path="layers", max_length=8)
    if used:
        translator.translate_ids(ids)
    said = in_child(lambda: translator.translate_ids(ids))
    expect_refusal(said, "forked from one that had begun to use TensorFlow")
    # Another one is no better off there.
    said = in_child(lambda: Translator(converted, None, path="layers").translate_ids(ids))
    expect_refusal(said, "spawn")


def test_what_the_keras_engine_began_is_refused_and_dropped_in_a_child(converted):
    ids = random_ids(converted)[:4]
    translator = Translator(converted, None, path="layers", max_length=8, streams=1)
    begun = translator.graph_engine.begin(ids, [1] * 4)
    expect_refusal(in_child(begun.results), "before this process was forked")
    assert in_child(begun.cancel) == "None"
    assert len(begun.results()) == 4


@needs_library
def test_a_float_model_is_refused_in_a_child_also_while_others_translate():
    model = small_model()
    ids = random_ids(model)[:2]
    with Translator(model, None, path="fast", max_length=8) as translator:
        expected = translator.translate_ids(ids)
        over = threading.Event()

        def work():
            while not over.is_set():
                translator.translate_ids(ids)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            said = in_child(lambda: translator.translate_ids(ids))
            expect_refusal(said, "begun to use TensorFlow")
        over.set()
        for thread in threads:
            thread.join()
        assert translator.translate_ids(ids) == expected


@needs_library
@pytest.mark.parametrize("used", [True, False], ids=["after it was used", "before it was used"])
def test_an_int8_model_on_the_native_decoder_answers_in_a_child(used):
    model = convert(make_transformer())
    ids = random_ids(model)[:4]
    with Translator(model, None, path="fast", max_length=8) as translator:
        early = translator.translate_ids(ids) if used else None
        said = in_child(lambda: translator.translate_ids(ids))
        assert said == repr(translator.translate_ids(ids))
        assert early is None or said == repr(early)


@needs_library
def test_a_child_refuses_and_drops_what_was_begun_before_it(folder, converted):
    ids = random_ids(converted)
    with load_translator(folder, max_length=8) as translator:
        decoder = translator.native_engine.decoder()
        begun = decoder.begin(ids, list(range(len(ids))))
        expect_refusal(in_child(begun.results), "before this process was forked")
        expect_refusal(in_child(lambda: decoder.begin(ids, [0])), "before this process was forked")
        expect_refusal(in_child(lambda: decoder.profile().__enter__()), "before this process")
        assert in_child(begun.cancel) == in_child(decoder.close) == "None"
        # Its end touches nothing of the parent's either.
        assert in_child(lambda: [translator.__dict__.clear(), begun.__dict__.clear()]) == (
            "[None, None]"
        )
        assert len(begun.results()) == len(ids)


# Children of a process whose threads translate all the time; then a pool of workers.
WORKERS = """
import json, multiprocessing, os, signal, sys, threading
from keras_int8nmt import load_translator

translator = load_translator(sys.argv[1])
ids = json.load(sys.stdin)[:8]
expected = translator.translate_ids(ids)
threading.excepthook = lambda _: None

def work():
    while True:
        load_translator(sys.argv[1]).translate_ids(ids)
        translator.translate_ids(ids)

def answer(_=None):
    return translator.translate_ids(ids) == expected

for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
ends = []
for _ in range(15):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        # As a server's worker ends, with what Python does at its end.
        sys.exit(0 if answer() else 1)
    ends.append(os.waitpid(child, 0)[1])
with multiprocessing.get_context("fork").Pool(2) as pool:
    inherited = pool.map(answer, range(4))
    sent = pool.map(translator.translate_ids, [ids] * 4)
print(ends == [0] * 15, inherited == [True] * 4, sent == [expected] * 4, flush=True)
"""


@needs_library
@pytest.mark.parametrize("of", ["folder", "float_folder"])
def test_children_of_a_busy_process_and_workers_of_a_pool_answer(of, converted, request):
    folder = request.getfixturevalue(of)
    # A child that crashes says where.
    options = ["-X", "faulthandler", "-W", "ignore::DeprecationWarning"]
    done = subprocess.run(
        [sys.executable, *options, "-c", WORKERS, str(folder)],
        input=json.dumps(random_ids(converted)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "True True True\n"), done.stderr


LATE = """
import os
from keras_int8nmt.keras_engine import forks  # TensorFlow is imported and has done nothing

child = os.fork()
if child == 0:
    from helpers.models import make_transformer, random_ids
    from keras_int8nmt import Translator
    model = make_transformer()
    translator = Translator(model, None, path="layers", max_length=6)
    os._exit(len(translator.translate_ids(random_ids(model)[:2])))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
def test_a_model_that_is_made_after_the_fork_runs_on_the_keras_engine():
    tests = os.path.dirname(os.path.dirname(__file__))
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", LATE],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([tests, *sys.path])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "2\n", done.stderr


@needs_library
def test_a_translator_of_a_folder_pickles_as_the_folder_and_its_options(
    folder, converted, tmp_path, monkeypatch
):
    ids = random_ids(converted)
    monkeypatch.chdir(folder.parent)
    options = {"beam_size": 3, "num_hypotheses": 2, "max_length": 9, "verify": "size"}
    with load_translator(folder.name, **options) as translator:
        pickled = pickle.dumps(translator)
        expected = translator.translate_ids(ids)
    # The folder is found from everywhere.
    monkeypatch.chdir(tmp_path)
    with pickle.loads(pickled) as other:
        assert other.translate_ids(ids) == expected
        assert other.beam_size == 3
        assert pickle.dumps(other) == pickled


def test_a_translator_of_a_model_says_why_it_can_not_be_pickled(converted):
    with pytest.raises(TypeError, match=r"no folder is known.*save_folder.*load_translator"):
        pickle.dumps(Translator(converted, None))
