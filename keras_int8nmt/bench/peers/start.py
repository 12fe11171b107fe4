"""What training may begin from: the package's own trained model in KerasHub's layers.

Learning to translate from nothing takes hours on a CPU; going on from a model of everyday
sentences takes minutes.
"""

from __future__ import annotations

from typing import Any

from sentencepiece import sentencepiece_model_pb2

from keras_int8nmt.bench.peers.model import HubTranslator, Sizes, build
from keras_int8nmt.models.sinusoids import position_table
from keras_int8nmt.storage.builtin import FOLDER, load_builtin
from keras_int8nmt.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer

# Between the names of KerasHub's sublayers and of ours.
_ENCODER = {"_self_attention_layer": "attention", "_self_attention_layer_norm": "attention_norm"}
_DECODER = {
    "_self_attention_layer": "self_attention",
    "_self_attention_layer_norm": "self_attention_norm",
    "_cross_attention_layer": "cross_attention",
    "_cross_attention_layer_norm": "cross_attention_norm",
}
_BOTH = {
    "_feedforward_intermediate_dense": "ffn_in",
    "_feedforward_output_dense": "ffn_out",
    "_feedforward_layer_norm": "ffn_norm",
}


def begun_tokenizer() -> SentencePieceTokenizer:
    """The built-in model's pieces with padding before them, so that it is id 0."""
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString((FOLDER / "source.spm").read_bytes())
    pieces = list(proto.pieces)
    padding = proto.SentencePiece(piece="<pad>", score=0.0, type=proto.SentencePiece.CONTROL)
    del proto.pieces[:]
    proto.pieces.extend([padding, *pieces])
    ids = proto.trainer_spec
    ids.pad_piece = "<pad>"
    ids.pad_id, ids.eos_id, ids.unk_id, ids.bos_id = 0, 1, 2, -1
    ids.vocab_size = len(proto.pieces)
    return SentencePieceTokenizer(proto.SerializeToString())


def begun_model(length: int, dropout: float) -> HubTranslator:
    """The built-in model's weights; its learned and computed tables are moved by the padding."""
    given = load_builtin(quant=False)
    settings = given.get_config()
    sizes = Sizes(
        vocabulary=settings["source_vocabulary_size"],
        length=length,
        width=settings["model_dim"],
        hidden=settings["ffn_dim"],
        heads=settings["num_heads"],
        depth=settings["num_encoder_layers"],
        dropout=dropout,
    )
    model = build(sizes)
    arrays = {w.path.partition("/")[2]: w.numpy() for w in given.weights}
    table = arrays["embedding/embeddings"]
    # Padding, the last row there, is the first here.
    model.embedding.set_weights([table[[len(table) - 1, *range(len(table) - 1)]]])
    places = position_table(length, sizes.width, settings["position_encoding"])
    model.positions.set_weights([places])
    for name, blocks, own in (
        ("encoder", model.encoder, _ENCODER),
        ("decoder", model.decoder, _DECODER),
    ):
        for i, block in enumerate(blocks):
            for attribute, theirs in {**own, **_BOTH}.items():
                _copy(getattr(block, attribute), arrays, f"{name}_block_{i}/{theirs}")
    return model


def _copy(layer: Any, arrays: dict[str, Any], place: str) -> None:
    """Sets a layer's weights, which are named alike, from those below `place`."""
    for weight in layer.weights:
        parts = weight.path.split("/")
        (found,) = [
            path
            for path in (f"{place}/{parts[-1]}", f"{place}/{'/'.join(parts[-2:])}")
            if path in arrays
        ]
        weight.assign(arrays[found])
