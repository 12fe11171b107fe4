"""CTranslate2 gets the same model: in float32 it finds what we find."""

from __future__ import annotations

import importlib.util

import keras
import numpy as np
import pytest

from keras_int8nmt.bench.translation.cases import Job
from keras_int8nmt.bench.translation.engines.ours import make_translator
from keras_int8nmt.models.build import build_transformer
from keras_int8nmt.storage import builtin as builtin_model
from keras_int8nmt.tokenizers.marian import MarianTokenizer

if importlib.util.find_spec("ctranslate2") is None:
    pytest.skip("ctranslate2 is not installed", allow_module_level=True)

from keras_int8nmt.bench.translation.ctranslate2_writer import write_ctranslate2
from keras_int8nmt.bench.translation.engines.ctranslate import CTranslate2

SMALL = {
    "source_vocabulary_size": 60,
    "num_encoder_layers": 2,
    "num_decoder_layers": 2,
    "model_dim": 32,
    "num_heads": 4,
    "ffn_dim": 64,
    "max_length": 40,
}
MODELS = {
    "post-norm relu": {},
    "pre-norm gelu": {"norm": "pre", "activation": "gelu", "layer_norm_epsilon": 1e-3},
    "untied swish": {
        "activation": "swish",
        "tie_embeddings": False,
        "output_bias": False,
        "position_encoding": "interleaved",
        "scale_embedding": False,
        "start_id": 2,
    },
    "two vocabularies": {
        "target_vocabulary_size": 50,
        "decoder_num_heads": 2,
        "decoder_ffn_dim": 48,
        "num_encoder_layers": 1,
        "norm": "pre",
    },
}


def random_model(**settings):
    keras.utils.set_random_seed(0)
    model = build_transformer(quant=False, **{**SMALL, **settings})
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        around = 1.0 if weight.path.endswith("gamma") else 0.0
        weight.assign(rng.normal(around, 0.3, weight.shape))
    return model


def both(model, folder, job):
    """Our translations and theirs, float32."""
    write_ctranslate2(model, folder / "ctranslate2")
    ours = make_translator(model, job, "layers").translate_ids(job.sentences)
    engine = CTranslate2(folder, 1, compute_type="float32")
    return [r.hypotheses[0].tokens for r in ours], engine.run(engine.prepare(job))


@pytest.mark.parametrize("name", MODELS)
def test_random_models_give_the_same_tokens(name, tmp_path):
    model = random_model(**MODELS[name])
    rng = np.random.default_rng(1)
    sources = [[*rng.integers(3, 60, n).tolist(), 1] for n in rng.integers(1, 12, 40)]
    ours, theirs = both(model, tmp_path, Job(1, 8, 1, 0, 20, sources))
    # At the greatest length ours ends with the end token, theirs with whatever comes next.
    assert [t[:19] for t in ours] == [t[:19] for t in theirs]


def test_forced_lengths_are_as_many_steps(tmp_path):
    sources = [[5, 6, 7, 1], [8, 9, 1]]
    for beam in (1, 4):
        job = Job(beam, 2, 1, 12, 12, sources)
        ours, theirs = both(random_model(), tmp_path / str(beam), job)
        assert [len(t) for t in ours] == [len(t) for t in theirs] == [12, 12]


def test_the_trained_model_translates_alike(tmp_path):
    tokenizer = MarianTokenizer(builtin_model.FOLDER)
    model = builtin_model.load_builtin(quant=False)
    _, pairs = builtin_model.read_pairs()
    sources = [tokenizer.encode(source) for source, _ in pairs[:100]]
    ours, theirs = both(model, tmp_path, Job(1, 32, 1, 0, 64, sources))
    different = sum(a != b for a, b in zip(ours, theirs, strict=True))
    print(f"{different} of {len(sources)} sentences differ, by ties in float32")
    assert different <= 2
