"""Models as Marian writes them, against a plain NumPy reference of Marian; and what is refused."""

from __future__ import annotations

import json
import shutil
import zipfile

import numpy as np
import pytest
from helpers.raw_marian import (
    MODEL_OPTIONS,
    PRE_NORM,
    TIED_TARGET,
    UNTIED,
    Reference,
    random_tensors,
    spm_pieces,
    write_decoder,
    write_npz,
    write_opus,
    write_vocabulary,
    zip_folder,
)

from keras_int8nmt import Translator, convert, load_folder, load_model, save_folder
from keras_int8nmt.cli.command_line import main
from keras_int8nmt.importers.errors import MarianFormatError
from keras_int8nmt.importers.raw_marian import load_raw_marian, with_row
from keras_int8nmt.importers.raw_marian_facts import describe, search_defaults
from keras_int8nmt.importers.raw_marian_files import is_raw_marian
from keras_int8nmt.models.sinusoids import position_table
from keras_int8nmt.tokenizers.errors import TokenizerError
from keras_int8nmt.tokenizers.marian import MarianTokenizer
from keras_int8nmt.tokenizers.subword_tokenizer import SubwordNMTTokenizer

# Options, words of source and target, and what else is told to `random_tensors`.
VARIANTS = {
    "opus": ({}, 30, 30, {}),
    "relu": ({"transformer-ffn-activation": "relu"}, 30, 30, {}),
    "pre-norm": (PRE_NORM, 30, 30, {}),
    "tied target": (TIED_TARGET, 30, 23, {}),
    "tied target, more there": ({**TIED_TARGET, **PRE_NORM}, 23, 30, {}),
    "untied": ({**UNTIED, "transformer-ffn-activation": "relu"}, 30, 25, {}),
    "untied, not transposed": ({**UNTIED, **PRE_NORM}, 24, 30, {"untransposed": True}),
    "inputs tied": ({**UNTIED, "tied-embeddings-src": "true"}, 30, 30, {}),
    "both and no bias": (
        {**UNTIED, "tied-embeddings-src": "true", "tied-embeddings": "true",
         "output-omit-bias": "true"},
        30, 30, {},
    ),
    "decoder of its own": (
        {"transformer-decoder-dim-ffn": 40, "dec-depth": 1, "enc-depth": 3}, 30, 30, {}
    ),
}  # fmt: skip


def write_model(folder, changes=None, source=30, target=30, vocabularies=True, **more):
    """A bare folder: weights, and vocabularies that say where the end is."""
    folder.mkdir(exist_ok=True)
    options = {**MODEL_OPTIONS, "dim-vocabs": [source, target], **(changes or {})}
    tensors = random_tensors(options, source, target, **more)
    write_npz(folder / "model.npz", tensors, options)
    if vocabularies:
        for name, size in (("vocab.src.yml", source), ("vocab.trg.yml", target)):
            write_vocabulary(folder / name, ["</s>", "<unk>", *map(str, range(2, size))])
    return options, tensors


@pytest.mark.parametrize(
    ("name", "quant"), [*((name, False) for name in VARIANTS), ("opus", True), ("untied", True)]
)
def test_logits_are_marians(name, quant, tmp_path):
    changes, source_size, target_size, more = VARIANTS[name]
    options, tensors = write_model(tmp_path, changes, source_size, target_size, **more)
    reference = Reference(options, tensors)
    model = load_raw_marian(tmp_path, quant=quant)
    pad = min(source_size, target_size)
    assert (model.pad_id, model.start_id, model.eos_id) == (pad, pad, 0)
    rng = np.random.default_rng(1)
    pairs = [
        ([*rng.integers(1, source_size, n).tolist(), 0], rng.integers(0, target_size, 7).tolist())
        for n in (9, 4, 1)
    ]

    def ours(ids):
        return [i + (i >= pad) for i in ids]

    source = np.full((len(pairs), 10), pad, np.int32)
    target = np.zeros((len(pairs), 7), np.int32)
    for row, (s, t) in enumerate(pairs):
        source[row, : len(s)] = ours(s)
        # The start, and what was before each that is to be found.
        target[row] = [pad, *ours(t[:-1])]
    logits = np.asarray(model((source, target)))
    for row, (s, t) in enumerate(pairs):
        expected = reference.logits(s, t)
        got = np.delete(logits[row], pad, axis=1)
        assert np.abs(got - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())
    assert logits[:, :, pad].max() < -9000


def test_both_engines_and_the_cache_take_the_positions_of_marian(tmp_path):
    options, tensors = write_model(tmp_path, {**PRE_NORM, "enc-depth": 1, "dec-depth": 1})
    model = load_raw_marian(tmp_path, quant=False)
    np.testing.assert_array_equal(model.position_table, position_table(1024, 16, "marian"))
    ids = [[5, 9, 4, 0], [7, 0], [3] * 40 + [0]]
    fast, layers = (
        Translator(model, None, beam_size=3, max_length=12, path=path).translate_ids(ids)
        for path in ("fast", "layers")
    )
    assert [r.hypotheses[0].tokens for r in fast] == [r.hypotheses[0].tokens for r in layers]
    # Greedy search by the reference, step by step, with no word that it does not know.
    greedy = Translator(model, None, beam_size=1, max_length=12, path="fast").translate_ids(ids)
    reference = Reference(options, tensors)
    for sentence, found in zip(ids, greedy, strict=True):
        tokens = []
        while len(tokens) < 12 and (not tokens or tokens[-1] != 0):
            last = reference.logits(sentence, [*tokens, 0])[-1]
            last[1] = -np.inf
            tokens.append(int(np.argmax(last)))
        # At the most tokens that there may be, ours are told to end.
        assert list(found.hypotheses[0].tokens)[:11] == tokens[:11]


def test_a_row_is_put_in_between():
    rows = np.arange(6, dtype="f4").reshape(3, 2)
    assert with_row(rows, 1, 9.0).tolist() == [[0, 1], [9, 9], [2, 3], [4, 5]]
    assert with_row(rows[:, 0], 3, -1.0).tolist() == [0, 2, 4, -1]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("opus") / "en-de"
    size = len(spm_pieces())
    options = {**MODEL_OPTIONS, "dim-vocabs": [size, size]}
    write_opus(folder, options, random_tensors(options, size, size))
    return folder


TEXTS = ["Where is the station?", "Good morning."]


def test_a_published_folder_opens_translates_and_is_saved(published, tmp_path):
    assert is_raw_marian(published)
    model, tokenizer, card = load_model(published, quant=False)
    assert card["imported"]["format"] == "raw Marian"
    assert isinstance(tokenizer, MarianTokenizer)
    assert tokenizer.pad_id == model.pad_id == len(spm_pieces())
    assert tokenizer.decode(tokenizer.encode(TEXTS[0])) == TEXTS[0]
    translator = Translator(model, tokenizer, max_length=10)
    assert translator.options.beam_size == 6
    expected = translator(TEXTS)
    assert all(expected)
    save_folder(convert(model, activations="dynamic"), tmp_path / "saved", tokenizer, card)
    again, kept, _ = load_folder(tmp_path / "saved")
    assert kept.encode(TEXTS[1]) == tokenizer.encode(TEXTS[1])
    assert Translator(again, kept, max_length=10).options == translator.options


@pytest.mark.parametrize("below", ["", "eng-deu"])
@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_a_zip_opens_as_its_folder_does(published, below, method, tmp_path):
    path = zip_folder(published, tmp_path / "opus-2020-02-26.zip", below, method)
    assert is_raw_marian(path)
    model, tokenizer, _ = load_model(path, quant=False)
    folder, _, _ = load_model(published, quant=False)
    for one, other in zip(model.weights, folder.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert tokenizer.encode(TEXTS[0])[-1] == 0
    assert search_defaults(path).to_json() == search_defaults(published).to_json()
    assert describe(path) == describe(published)


def test_info_tells_what_a_published_folder_holds(published, capsys):
    assert main(["info", str(published)]) == 0
    told = capsys.readouterr().out
    for line in (
        "format: raw Marian",
        "written by: Marian v1.9.0",
        "search: beam_size 6, length_penalty 1.0",
        "SentencePiece with opus.spm32k-spm32k.vocab.yml",
        "preprocess.sh is not run",
    ):
        assert line in told
    assert "problems" not in told


def test_a_search_is_what_decoder_yml_asks_for(published, tmp_path):
    folder = shutil.copytree(published, tmp_path / "model")
    unknown = {"token_filters": [{"no_sequences": [[1]]}]}
    assert search_defaults(folder).to_json() == {"beam_size": 6, "length_penalty": 1.0, **unknown}
    write_decoder(folder, normalize="0.6", **{"allow-unk": "true", "beam-size": 3})
    assert search_defaults(folder).to_json() == {"beam_size": 3, "length_penalty": 0.6}
    (folder / "decoder.yml").write_text("beam-size: 2\n")
    assert search_defaults(folder).to_json() == {"beam_size": 2, "length_penalty": 0.0, **unknown}
    (folder / "decoder.yml").unlink()
    assert search_defaults(folder).to_json() == unknown
    write_decoder(folder, **{"word-penalty": "0.5", "shortlist": ["lex.s2t", 50, 50], "new": "x"})
    message = r"word-penalty: 0\.5, shortlist: lex\.s2t, 50, 50, new: x, which the search here"
    with pytest.warns(UserWarning, match=message):
        load_raw_marian(folder, quant=False)
    assert "word-penalty: 0.5" in describe(folder)["notes"][0]


@pytest.mark.parametrize("told", [{"beam-size": 0}, {"beam-size": "x"}, {"normalize": "many"}])
def test_a_search_that_can_not_be_is_told(published, told, tmp_path):
    folder = shutil.copytree(published, tmp_path / "model")
    write_decoder(folder, **told)
    with pytest.raises(MarianFormatError, match=rf"decoder\.yml.*{next(iter(told))}"):
        load_raw_marian(folder)


def test_codes_of_subword_nmt_are_taken_where_there_are_some(tmp_path):
    write_model(tmp_path, source=9, target=9)
    for name in ("vocab.src.yml", "vocab.trg.yml"):
        pieces = ["</s>", "<unk>", "lo@@", "w", "low", "l@@", "o@@", ">>deu<<", "y"]
        write_vocabulary(tmp_path / name, pieces)
    for name in ("source.bpe", "target.bpe"):
        (tmp_path / name).write_text("#version: 0.2\nl o\nlo w</w>\n")
    model, tokenizer, _ = load_model(tmp_path, quant=False)
    assert isinstance(tokenizer, SubwordNMTTokenizer)
    assert tokenizer.encode(">>deu<< low y lox") == [7, 4, 8, 2, 1, 0]
    assert tokenizer.decode([2, 3, 8, 0]) == "low y"
    assert tokenizer.language_codes == [">>deu<<"]
    save_folder(model, tmp_path / "saved", tokenizer)
    assert load_folder(tmp_path / "saved")[1].encode("low") == [4, 0]
    assert describe(tmp_path)["tokenizer"]["subword-nmt with"] == "vocab.src.yml and vocab.trg.yml"


def test_a_folder_without_a_segmentation_has_no_tokenizer(tmp_path, capsys):
    write_model(tmp_path, source=9, target=9)
    _, tokenizer, _ = load_model(tmp_path, quant=False)
    assert tokenizer is None
    assert "there is no tokenizer" in describe(tmp_path)["notes"][0]
    (tmp_path / "text").write_text("a\n")
    assert main(["translate", str(tmp_path), str(tmp_path / "text")]) == 2
    assert "no tokenizer" in capsys.readouterr().err


def test_a_vocabulary_of_sentencepiece_is_its_own_segmentation(tmp_path):
    from keras_int8nmt.storage.builtin import FOLDER

    write_model(tmp_path, source=6000, target=6000, vocabularies=False)
    shutil.copy(FOLDER / "source.spm", tmp_path / "vocab.spm")
    _, tokenizer, _ = load_model(tmp_path, quant=False)
    own = MarianTokenizer(FOLDER)
    assert tokenizer.encode(TEXTS[0])[:-1] == own.encode(TEXTS[0])[:-1]


def test_ids_after_padding_move_in_the_larger_vocabulary(tmp_path):
    write_model(tmp_path, TIED_TARGET, source=9, target=5)
    pieces = ["</s>", "<unk>", "a", "b", "c", "d", "e", "f", "<pad>"]
    write_vocabulary(tmp_path / "vocab.src.yml", pieces)
    write_vocabulary(tmp_path / "vocab.trg.yml", pieces[:5])
    (tmp_path / "source.bpe").write_text("#version: 0.2\nx y\n")
    _, tokenizer, _ = load_model(tmp_path, quant=False)
    # The token that is called <pad> is none here.
    assert (tokenizer.pad_id, tokenizer.encode("c d f")) == (5, [4, 6, 8, 0])
    assert sorted(tokenizer.source_ids) == list(range(10))
    assert tokenizer.encode_target("c") == [4, 0]


def test_names_and_places_of_nematus_are_known(tmp_path):
    write_model(tmp_path, source=3, target=3, vocabularies=False)
    (tmp_path / "source.bpe").write_text("#version: 0.2\nx y\n")
    (tmp_path / "vocab.yml").write_text(json.dumps({"eos": 0, "UNK": 1, "a": 2}))
    _, tokenizer, _ = load_model(tmp_path, quant=False)
    assert (tokenizer.eos_id, tokenizer.unk_id, tokenizer.encode("a b")) == (0, 1, [2, 1, 0])
    (tmp_path / "vocab.yml").write_text("a: 0\n<unk>: 1\n")
    with pytest.raises(MarianFormatError, match=r"no piece '</s>' in its vocabulary 'vocab\.yml'"):
        load_model(tmp_path)


# ---- what is refused, by its name ----


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("type", "s2s", "only transformer is"),
        ("transformer-decoder-autoreg", "rnn", "SSRU"),
        ("transformer-decoder-autoreg", "average-attention", "average attention"),
        ("transformer-train-position-embeddings", "true", "trained positions"),
        ("transformer-ffn-depth", 3, "only 2 is"),
        ("transformer-decoder-ffn-depth", 1, "only 2 is"),
        ("transformer-tied-layers", [1, 1], "tied layers"),
        ("transformer-preprocess", "r", r"r \(RMSNorm\)"),
        ("transformer-postprocess", "dh", r"h \(highway\)"),
        ("transformer-postprocess-emb", "nd", "a norm after the embeddings"),
        ("transformer-postprocess-top", "n", "not supported together"),
        ("transformer-preprocess", "n", "not supported together"),
        ("transformer-ffn-activation", "gelu", r"x sigmoid\(1\.702 x\)"),
        ("transformer-ffn-activation", "tanh", "only relu, swish are"),
        ("transformer-no-projection", "true", "without an output projection"),
        ("lemma-dim-emb", 64, "factored vocabularies"),
        ("factors-dim-emb", 8, "factored vocabularies"),
        ("right-left", "true", "right to left"),
        ("input-types", ["class"], "inputs of other types"),
        ("dim-vocabs", [31, 30], "30 and 30 rows"),
        ("dim-emb", 18, "18 columns"),
        ("enc-depth", 0, "enc-depth"),
        ("enc-depth", 10**9, "num_encoder_layers"),
        ("dec-depth", 1, "does not account for"),
        ("dec-depth", 3, "weights or more"),
        ("transformer-heads", 5, "num_heads"),
        ("transformer-dim-ffn", 25, "encoder_l1_ffn_W1"),
        ("transformer-dim-ffn", "many", "transformer-dim-ffn"),
        ("tied-embeddings-all", "false", "encoder_Wemb"),
        ("tied-embeddings-all", "maybe", "tied-embeddings-all"),
    ],
)
def test_what_is_not_supported_is_named(option, value, message, tmp_path):
    options, tensors = write_model(tmp_path)
    write_npz(tmp_path / "model.npz", tensors, {**options, option: value})
    with pytest.raises(MarianFormatError, match=message) as caught:
        load_raw_marian(tmp_path)
    assert "model.npz" in str(caught.value) or "special:model.yml" in str(caught.value)


def test_options_that_nothing_is_known_of_are_told(tmp_path):
    options, tensors = write_model(tmp_path)
    write_npz(tmp_path / "model.npz", tensors, {**options, "transformer-new": "x"})
    with pytest.warns(UserWarning, match="not heeded: transformer-new: x"):
        load_raw_marian(tmp_path)


def test_options_of_early_releases_are_marians_defaults(tmp_path):
    options, tensors = write_model(tmp_path)
    early = (
        "type",
        "dim-emb",
        "enc-depth",
        "dec-depth",
        "transformer-heads",
        "tied-embeddings-all",
    )
    early += ("transformer-dim-ffn", "transformer-ffn-activation", "transformer-preprocess")
    write_npz(tmp_path / "model.npz", tensors, {name: options[name] for name in early})
    assert load_raw_marian(tmp_path).settings["norm"] == "post"


def test_a_tensor_that_is_missing_or_too_much_is_named(tmp_path):
    options, tensors = write_model(tmp_path)
    one = tensors.pop("encoder_l2_ffn_W2")
    write_npz(tmp_path / "model.npz", tensors, options)
    with pytest.raises(MarianFormatError, match="no tensor 'encoder_l2_ffn_W2'"):
        load_raw_marian(tmp_path)
    tensors.update(encoder_l2_ffn_W2=one, Wpos=one)
    write_npz(tmp_path / "model.npz", tensors, options)
    with pytest.raises(MarianFormatError, match="Wpos"):
        load_raw_marian(tmp_path)


def test_of_several_models_one_has_to_be_named(tmp_path):
    options, tensors = write_model(tmp_path)
    other = {name: value * 2 for name, value in tensors.items()}
    write_npz(tmp_path / "model.npz.best-bleu.npz", other, options)
    (tmp_path / "model.npz.optimizer.npz").write_bytes(b"")
    with pytest.raises(MarianFormatError, match=r"several models.*'model\.npz\.best-bleu\.npz'"):
        load_raw_marian(tmp_path)
    model = load_raw_marian(tmp_path / "model.npz.best-bleu.npz", quant=False)
    np.testing.assert_array_equal(model.source_embedding.embeddings[:-1], other["Wemb"])
    (tmp_path / "decoder.yml").write_text("models:\n  - a.npz\n  - b.npz\n")
    with pytest.raises(MarianFormatError, match="ensemble of 2 models"):
        load_raw_marian(tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["vocab.yml", "vocab.en.yml"], "whose they are"),
        (["vocab.fsv"], "factored"),
        (["vocab.txt"], "of another kind"),
    ],
)
def test_vocabularies_that_can_not_be_taken_are_named(names, message, tmp_path):
    write_model(tmp_path, vocabularies=False)
    for name in names:
        write_vocabulary(tmp_path / name, ["</s>", "<unk>"])
    with pytest.raises(MarianFormatError, match=message):
        load_raw_marian(tmp_path)


def test_what_is_no_model_of_marian_is_not_recognised(tmp_path):
    np.savez(tmp_path / "weights.npz", a=np.zeros(3))
    assert not is_raw_marian(tmp_path)
    assert not is_raw_marian(tmp_path / "nothing")
    (tmp_path / "vocab.yml").write_text("a: 0\n")
    with pytest.raises(MarianFormatError, match=r"has no special:model\.yml"):
        load_raw_marian(tmp_path)
    (tmp_path / "vocab.yml").write_text("a\n")
    with pytest.raises((MarianFormatError, TokenizerError)):
        load_raw_marian(tmp_path)
