"""A `Transformer` as a CTranslate2 model directory: the same weights, in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from keras_int8nmt.layers.matmuls import matrix

# Makes padding, which our search never produces, impossible at no cost in a step.
_NEVER = -1e9


def write_ctranslate2(
    model: Any, folder: Path, unk_id: int | None = None, quantization: str | None = None
) -> None:
    """Writes `model` for `ctranslate2.Translator`, which quantizes it when it loads.

    Tokens are named by their ids, `"0"`, `"1"` and so on. Sources must end with the end token.

    Args:
        model: A float `Transformer`, `quant` or not.
        folder: Made; must not exist.
        unk_id: The unknown token; None: there is none, and a token that means something else has
            the name, which changes nothing unless a search is told to avoid it.
        quantization: "int8": quantized on disk already.
    """
    from ctranslate2.specs import TransformerSpec
    from ctranslate2.specs.transformer_spec import TransformerDecoderSpec, TransformerEncoderSpec

    s = model.settings
    common = {"pre_norm": s["norm"] == "pre", "activation": _activation(s["activation"])}
    encoder = TransformerEncoderSpec(s["num_encoder_layers"], s["num_heads"], **common)
    decoder = TransformerDecoderSpec(s["num_decoder_layers"], s["decoder_num_heads"], **common)
    _set_stack(encoder, encoder.embeddings[0], model.source_embedding, model.encoder_norm, model)
    _set_stack(decoder, decoder.embeddings, model.target_embedding, model.decoder_norm, model)
    for spec, block in zip(encoder.layer, model.encoder_blocks, strict=True):
        _set_self_attention(spec.self_attention, block.attention, block.attention_norm)
        _set_feed_forward(spec.ffn, block)
    for spec, block in zip(decoder.layer, model.decoder_blocks, strict=True):
        _set_self_attention(spec.self_attention, block.self_attention, block.self_attention_norm)
        _set_cross_attention(spec.attention, block.cross_attention, block.cross_attention_norm)
        _set_feed_forward(spec.ffn, block)
    _set_projection(decoder.projection, model)

    spec = TransformerSpec(encoder, decoder)
    spec.register_source_vocabulary([str(i) for i in range(s["source_vocabulary_size"])])
    spec.register_target_vocabulary([str(i) for i in range(s["target_vocabulary_size"])])
    spec.config.layer_norm_epsilon = s["layer_norm_epsilon"]
    spec.config.bos_token = spec.config.decoder_start_token = str(s["start_id"])
    spec.config.eos_token = str(s["eos_id"])
    spec.config.unk_token = str(s["pad_id"] if unk_id is None else unk_id)
    spec.validate()
    spec.optimize(quantization=quantization)
    folder.mkdir(parents=True)
    spec.save(str(folder))


def _activation(name: str) -> Any:
    from ctranslate2.specs.common_spec import Activation

    return {"relu": Activation.RELU, "gelu": Activation.GELU, "swish": Activation.SWISH}[name]


def _array(weight: Any) -> np.ndarray:
    return np.array(ops.convert_to_numpy(weight), np.float32)


def _set_stack(stack: Any, embedding_spec: Any, embedding: Any, norm: Any, model: Any) -> None:
    embedding_spec.weight = _array(embedding.embeddings)
    stack.scale_embeddings = float(model.scale)
    stack.position_encodings.encodings = np.array(model.position_table, np.float32)
    if norm is not None:
        _set_norm(stack.layer_norm, norm)


def _set_norm(spec: Any, norm: Any) -> None:
    spec.gamma, spec.beta = _array(norm.gamma), _array(norm.beta)


def _set_self_attention(spec: Any, attention: Any, norm: Any) -> None:
    _set_norm(spec.layer_norm, norm)
    parts = (attention.query_dense, attention.key_dense, attention.value_dense)
    _set_inward(spec.linear[0], parts)
    _set_outward(spec.linear[1], attention.output_dense)


def _set_cross_attention(spec: Any, attention: Any, norm: Any) -> None:
    _set_norm(spec.layer_norm, norm)
    _set_inward(spec.linear[0], (attention.query_dense,))
    _set_inward(spec.linear[1], (attention.key_dense, attention.value_dense))
    _set_outward(spec.linear[2], attention.output_dense)


def _set_inward(spec: Any, parts: tuple[Any, ...]) -> None:
    """Projections to heads, `[d, heads, dim]`, one below the other as `[out, in]`."""
    spec.weight = np.concatenate([matrix(part.kernel).T for part in parts])
    spec.bias = np.concatenate([_array(part.bias).reshape(-1) for part in parts])


def _set_outward(spec: Any, dense: Any) -> None:
    spec.weight = np.ascontiguousarray(matrix(dense.kernel, summed=2).T)
    spec.bias = _array(dense.bias)


def _set_feed_forward(spec: Any, block: Any) -> None:
    _set_norm(spec.layer_norm, block.ffn_norm)
    for linear, dense in ((spec.linear_0, block.ffn_in), (spec.linear_1, block.ffn_out)):
        linear.weight = np.ascontiguousarray(_array(dense.kernel).T)
        linear.bias = _array(dense.bias)


def _set_projection(spec: Any, model: Any) -> None:
    if model.output_projection is None:
        spec.weight, bias = _array(model.target_embedding.embeddings), model.output_bias
    else:
        spec.weight = np.ascontiguousarray(_array(model.output_projection.kernel).T)
        bias = model.output_projection.bias
    spec.bias = np.zeros(len(spec.weight), np.float32) if bias is None else _array(bias)
    spec.bias[model.pad_id] = _NEVER
