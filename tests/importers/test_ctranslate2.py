"""Models of CTranslate2: its own logits of random models, its tokens of a trained one."""

from __future__ import annotations

import importlib.util
import json
import shutil

import keras
import numpy as np
import pytest
from helpers.ct2_files import BFloat16, change_config, model_bin, read_variables

from keras_int8nmt import Translator, build_transformer, load_model
from keras_int8nmt.cli.command_line import main
from keras_int8nmt.importers.ct2_facts import describe
from keras_int8nmt.importers.ctranslate2 import load_ctranslate2
from keras_int8nmt.importers.errors import CTranslate2FormatError

if importlib.util.find_spec("ctranslate2") is None:
    pytest.skip("ctranslate2 is not installed", allow_module_level=True)

import ctranslate2

from keras_int8nmt.bench.translation.ctranslate2_writer import write_ctranslate2

SMALL = {
    "source_vocabulary_size": 30,
    "num_encoder_layers": 2,
    "num_decoder_layers": 1,
    "model_dim": 16,
    "num_heads": 2,
    "ffn_dim": 24,
    "max_length": 40,
}
MODELS = {
    "post-norm relu, all tied": {},
    "pre-norm gelu, untied": {
        "norm": "pre",
        "activation": "gelu",
        "layer_norm_epsilon": 1e-3,
        "tie_embeddings": False,
    },
    "swish, interleaved, not scaled": {
        "activation": "swish",
        "tie_embeddings": "inputs",
        "position_encoding": "interleaved",
        "first_position": 2,
        "scale_embedding": False,
        "start_id": 2,
    },
    "two vocabularies": {
        "target_vocabulary_size": 25,
        "decoder_num_heads": 4,
        "decoder_ffn_dim": 20,
        "position_encoding": "marian",
        "norm": "pre",
    },
}
PAIRS = [([5, 6, 7, 8, 1], [9, 4, 5]), ([29, 1], [24]), ([3, 3, 12, 17, 20, 4, 1], [2, 8, 8, 9, 3])]


def random_model(**settings):
    keras.utils.set_random_seed(0)
    model = build_transformer(quant=False, **{**SMALL, **settings})
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        around = 1.0 if weight.path.endswith("gamma") else 0.0
        weight.assign(rng.normal(around, 0.3, weight.shape))
    return model


def write(folder, quantization=None, **settings):
    model = random_model(**settings)
    write_ctranslate2(model, folder, quantization=quantization)
    return folder


def rewrite(folder, variables, **how):
    (folder / "model.bin").write_bytes(model_bin(variables, **how))
    return folder


def their_scores(folder, pairs=PAIRS):
    """The log-probability of each token of the targets and of their ends."""
    translator = ctranslate2.Translator(str(folder), compute_type="float32")
    found = translator.score_batch(
        [list(map(str, source)) for source, _ in pairs],
        [list(map(str, target)) for _, target in pairs],
    )
    return [np.array(one.log_probs) for one in found]


def our_scores(model, pairs=PAIRS):
    found = []
    for source, target in pairs:
        fed = np.array([[model.start_id, *target]])
        logits = np.array(model({"source": np.array([source]), "target": fed}))[0]
        log_probs = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
        found.append(log_probs[np.arange(len(target) + 1), [*target, model.eos_id]])
    return found


def assert_equal_scores(folder, pairs=PAIRS):
    model = load_ctranslate2(folder, quant=False)
    for ours, theirs in zip(our_scores(model, pairs), their_scores(folder, pairs), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    return model


@pytest.mark.parametrize("name", MODELS)
def test_random_models_have_the_scores_of_ctranslate2(name, tmp_path):
    model = assert_equal_scores(write(tmp_path / "model", **MODELS[name]))
    wanted = random_model(**MODELS[name]).settings
    more = {"source_vocabulary_size", "target_vocabulary_size", "pad_id"}
    for setting in wanted.keys() - more - {"tie_embeddings", "dropout", "output_bias"}:
        assert model.settings[setting] == wanted[setting], setting
    assert model.settings["tie_embeddings"] == wanted["tie_embeddings"]


@pytest.mark.parametrize("quantization", ["int8", "int16"])
def test_quantized_weights_have_the_scores_of_ctranslate2_in_float32(quantization, tmp_path):
    folder = write(tmp_path / "model", quantization, norm="pre", tie_embeddings="output")
    assert_equal_scores(folder)
    assert describe(folder)["dtype"] == f"float32, {quantization}"


@pytest.mark.parametrize("quantization", [None, "int8"])
@pytest.mark.parametrize("half", [lambda x: np.clip(x, -60000, 60000).astype("f2"), BFloat16])
def test_half_precision_is_the_float32_that_it_stands_for(half, quantization, tmp_path):
    folder = write(tmp_path / "model", quantization)
    variables = read_variables(folder / "model.bin")
    halves = {
        name: half(value)
        if value.dtype == np.float32 and value.ndim and not name.endswith("_scale")
        else value
        for name, value in variables.items()
    }
    rewrite(folder, halves)
    # Rounded positions are known for what they are; ours are computed.
    assert load_ctranslate2(folder, quant=False).settings["position_encoding"] == "half"
    rewrite(folder, halves | {name: x for name, x in variables.items() if "encodings" in name})
    assert_equal_scores(folder)


@pytest.mark.parametrize(("version", "revision"), [(2, 2), (3, 3), (4, 4), (5, 5), (6, 7)])
def test_files_of_earlier_releases_have_the_scores_of_ctranslate2(version, revision, tmp_path):
    """Settings lie elsewhere, and positions are computed."""
    folder = write(tmp_path / "model", num_heads=8, norm="pre", tie_embeddings=False)
    kept = {}
    for name, value in read_variables(folder / "model.bin").items():
        rest = name.partition("/")[2]
        if "position_encodings" in name:
            continue
        if version < 4 and value.ndim == 0 and value.dtype not in (np.int8, np.int16):
            continue  # the scale of embeddings is the root of their width then
        if revision < 5 and value.ndim == 0 and "/" not in rest:
            if rest in ("num_heads", "activation", "pre_norm"):
                kept[rest] = value
            continue
        kept[name] = value
    if revision < 3:
        del kept["num_heads"]
    if version < 6:
        (folder / "config.json").unlink()
        kept |= {"with_source_eos": np.int8(1), "with_target_bos": np.int8(0)}
        for name, token in (("eos_token", b"1"), ("unk_token", b"0")):
            kept[name] = np.frombuffer(token, np.int8)
    spec = "TransformerBase" if revision < 3 else "TransformerSpec"
    rewrite(folder, kept, version=version, revision=revision, spec=spec)
    pairs = [(source[:-1], target) for source, target in PAIRS] if version < 6 else PAIRS
    translator = ctranslate2.Translator(str(folder), compute_type="float32")
    theirs = translator.score_batch(
        [list(map(str, source)) for source, _ in pairs],
        [list(map(str, target)) for _, target in pairs],
    )
    model, tokenizer, _ = load_model(folder, quant=False)
    assert (model.settings["position_encoding"], model.settings["first_position"]) == ("marian", 1)
    assert model.start_id == (1 if version < 6 else 0)
    encoded = [tokenizer.encode(" ".join(map(str, source))) for source, _ in pairs]
    assert tokenizer.source_eos == (version < 6)
    for ours, one in zip(
        our_scores(model, list(zip(encoded, [t for _, t in pairs], strict=True))),
        theirs,
        strict=True,
    ):
        np.testing.assert_allclose(ours, one.log_probs, rtol=1e-4, atol=1e-4)


def test_int16_without_a_scale_is_of_a_thousandth(tmp_path):
    folder = write(tmp_path / "model", "int16")
    kept = {}
    for name, value in read_variables(folder / "model.bin").items():
        if value.dtype == np.int16 and value.ndim:
            kept[name] = np.clip(value, -900, 900)
        elif not name.endswith("weight_scale"):
            kept[name] = value
    rewrite(folder, kept)
    assert_equal_scores(folder)


def test_a_decoder_that_begins_with_zeros_has_them_as_one_more_token(tmp_path):
    folder = write(tmp_path / "model")
    variables = read_variables(folder / "model.bin")
    variables["decoder/start_from_zero_embedding"] = np.int8(1)
    rewrite(folder, variables)
    change_config(folder, decoder_start_token="1")
    model = assert_equal_scores(folder)
    assert model.start_id == model.pad_id == 30


def test_biases_that_are_not_there_are_zeros(tmp_path):
    folder = write(tmp_path / "model")
    kept = {
        name: value
        for name, value in read_variables(folder / "model.bin").items()
        if not name.endswith("/bias")
    }
    rewrite(folder, kept)
    assert_equal_scores(folder)


def test_a_search_finds_the_tokens_of_ctranslate2(tmp_path):
    folder = write(tmp_path / "model", **MODELS["two vocabularies"])
    # What is padding here can be produced there.
    theirs = ctranslate2.Translator(str(folder), compute_type="float32")
    rng = np.random.default_rng(1)
    texts = [" ".join(map(str, rng.integers(3, 25, n))) for n in rng.integers(1, 12, 40)]
    found = theirs.translate_batch(
        [text.split() for text in texts],
        beam_size=1,
        max_decoding_length=11,
        suppress_sequences=[["0"]],
    )
    model, tokenizer, _ = load_model(folder, quant=False)
    ours = Translator(model, tokenizer, beam_size=1, max_length=12).translate(texts)
    for one, other in zip(ours, found, strict=True):
        tokens = [str(i) for i in one.hypotheses[0].tokens]
        assert tokens[:11] == [*other.hypotheses[0], "1"][: len(tokens)][:11]


def test_the_command_line_takes_such_folders(tmp_path, written, capsys):
    """Info, translate, calibrate and convert; what is saved keeps the tokenizer."""
    (tmp_path / "source").write_text("5 6 7 1\n8 29 1\n")
    assert main(["info", str(written)]) == 0
    told = capsys.readouterr().out
    assert "format: CTranslate2" in told
    assert "pieces spaces" in told
    source, out = str(tmp_path / "source"), ["-o", str(tmp_path / "out")]
    options = ["--quiet", "--max-length", "6"]
    assert main(["translate", str(written), source, *out, *options]) == 0
    calibrated, int8 = str(tmp_path / "calibrated"), str(tmp_path / "int8")
    assert main(["calibrate", str(written), "--data", source, "-o", calibrated]) == 0
    assert main(["convert", calibrated, "-o", int8]) == 0
    lines = []
    for folder in (calibrated, int8):
        assert main(["translate", folder, source, *out, "--force", *options]) == 0
        lines.append((tmp_path / "out").read_text().split("\n"))
    assert [len(each) for each in lines] == [3, 3]
    assert all(token.isdigit() for each in lines for line in each for token in line.split())


# ---- what is refused

RELATIVE = np.zeros((9, 8), np.float32)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"encoder/layer_0/self_attention/relative_position_keys": RELATIVE}, "relative positions"),
        ({"decoder/layer_0/self_attention/relative_attention_bias": RELATIVE}, "T5"),
        ({"decoder/layer_0/self_attention/rotary_dim": np.int32(4)}, "rotary positions"),
        ({"decoder/layernorm_embedding/gamma": np.ones(16, np.float32)}, "norm after the embedd"),
        ({"encoder/layer_1/ffn/linear_0_noact/weight": RELATIVE}, "gated feed-forward"),
        ({"encoder/layer_0/self_attention/num_heads_kv": np.int32(1)}, "fewer heads of keys"),
        ({"decoder/alibi": np.int8(1)}, "ALiBi"),
        ({"decoder/project_in/weight": RELATIVE}, "projections around the decoder"),
        ({"decoder/scale_outputs": np.float32(0.5)}, "scaled outputs"),
        ({"encoder/embeddings_1/weight": RELATIVE}, "features of words"),
        ({"decoder/layer_0/ffn/layer_norm/beta": None}, "RMS norms"),
        ({"encoder/activation": np.int8(1)}, r"activation 1, GELU with tanh, in the encoder"),
        ({"encoder/activation": np.int8(4)}, r"activation 4, GELU with a sigmoid"),
        ({"encoder/activation": np.int8(2)}, r"activation .* is swish in the encoder and relu"),
        ({"encoder/scale_embeddings": np.float32(3)}, "multiplies embeddings by 3"),
        ({"decoder/scale_embeddings": np.int8(0)}, "scale_embedding .* True .* False"),
        ({"decoder/layer_0/attention/queries_scale": np.float32(1)}, "queries scaled by 1.0"),
        ({"encoder/layer_norm/gamma": np.ones(16, np.float32)}, "a norm at the end of the encoder"),
        ({"encoder/pre_norm": np.int8(1)}, "no norm at the end of the encoder"),
        ({"decoder/num_heads": np.int16(3)}, "describes no possible model: .*num_heads"),
        ({"decoder/something_new": np.int8(1)}, "sets 'decoder/something_new' to 1"),
        ({"decoder/layer_0/gate/weight": RELATIVE}, "does not account for: decoder/layer_0/gate"),
        ({"encoder/layer_0/ffn/linear_0/weight": RELATIVE}, "has shape"),
        ({"encoder/layer_1/ffn/linear_0/bias": np.full(24, np.nan, "f4")}, "NaN or infinite"),
        ({"decoder/position_encodings/encodings": np.ones((40, 16), "f4")}, "learned positions"),
        ({"decoder/position_encodings/encodings": None}, "position_encoding .* half .* marian"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_refused_by_its_name(changed, message, written, tmp_path):
    folder = shutil.copytree(written, tmp_path / "model")
    variables = read_variables(folder / "model.bin") | changed
    rewrite(folder, {name: value for name, value in variables.items() if value is not None})
    with pytest.raises(CTranslate2FormatError, match=message) as caught:
        load_ctranslate2(folder, quant=False)
    assert "model.bin" in str(caught.value)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder of a post-norm model."""
    return write(tmp_path_factory.mktemp("written") / "model")


@pytest.mark.parametrize(
    "spec", ["TransformerDecoderSpec", "WhisperSpec", "TransformerEncoderSpec"]
)
def test_models_that_do_not_translate_are_refused_by_their_name(spec, written, tmp_path):
    folder = shutil.copytree(written, tmp_path / "model")
    rewrite(folder, read_variables(folder / "model.bin"), spec=spec)
    with pytest.raises(CTranslate2FormatError, match=f"holds a model of '{spec}'"):
        load_model(folder)
    (folder / "shared_vocabulary.json").rename(folder / "vocabulary.json")
    assert describe(folder)["problems"][0].endswith("is read.")
    with pytest.raises(CTranslate2FormatError, match=spec):
        load_model(folder)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"decoder_start_token": None}, "leaves the decoder's first token"),
        ({"decoder_start_token": "x"}, "has no token 'x'"),
        ({"eos_token": 3}, "'eos_token' must be text; it is 3"),
        ({"add_source_eos": "yes"}, "'add_source_eos' must be true or false"),
        ({"layer_norm_epsilon": "small"}, "'layer_norm_epsilon' must be a number"),
        ({"layer_norm_epsilon": -1}, "no possible model: .*layer_norm_epsilon"),
        ({"layer_norm_epsilon": 10**400}, "no possible model: .*layer_norm_epsilon"),
        ({"add_source_bos": True, "bos_token": "<s>"}, "source vocabulary .* no token '<s>'"),
    ],
)
def test_settings_that_are_none_are_told(entries, message, written, tmp_path):
    folder = shutil.copytree(written, tmp_path / "model")
    change_config(folder, **entries)
    with pytest.raises(CTranslate2FormatError, match=message):
        load_ctranslate2(folder)
    assert describe(folder)["problems"]


def test_vocabularies_are_text_or_json(written, tmp_path):
    folder = shutil.copytree(written, tmp_path / "model")
    path = folder / "shared_vocabulary.json"
    tokens = json.loads(path.read_text())
    before = load_model(folder, quant=False)[1].files
    path.unlink()
    for end in ("\n", "\r\n"):
        text = "".join(token + end for token in tokens)
        (folder / "shared_vocabulary.txt").write_bytes(text.encode())
        assert load_model(folder, quant=False)[1].files == before
    (folder / "shared_vocabulary.txt").write_bytes("\n".join(tokens[:-1]).encode())
    with pytest.warns(UserWarning, match="source vocabulary has 29 tokens, .* of 30 and the"):
        load_model(folder, quant=False)


# ---- a trained model


@pytest.fixture(scope="module", params=["", "-i16", "-i8"])
def trained(request, shared_data):
    return shared_data / "models" / f"ct2-aren-transliteration{request.param}"


def test_names_are_transliterated_as_by_ctranslate2(trained, shared_data):
    text = (shared_data / "anetac" / "test.ar").read_text(encoding="utf-8")
    names = text.split("\n")[:400]
    model, tokenizer, card = load_model(trained, quant=False)
    theirs = ctranslate2.Translator(str(trained), compute_type="float32")
    sources = [[c for c in name if c != " "] for name in names]
    for beam_size, ties in ((1, 0), (4, 6)):
        found = theirs.translate_batch(sources, beam_size=beam_size, max_decoding_length=64)
        ours = Translator(model, tokenizer, beam_size=beam_size, max_length=65).translate(names)
        same = [
            one.text == "".join(other.hypotheses[0]) for one, other in zip(ours, found, strict=True)
        ]
        # With a beam the two stop by other rules.
        print(f"{trained.name}, beam {beam_size}: {len(same) - sum(same)} of {len(same)} differ")
        assert len(same) - sum(same) <= ties
    assert card["imported"]["format"] == "CTranslate2"
    assert Translator(model, tokenizer, beam_size=2)(["\u0622\u062a\u0632\u0645\u0648\u0646"]) == [
        "atzmon"
    ]
