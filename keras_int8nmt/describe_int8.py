"""`Int8Transformer` to the native decoder's description."""

from __future__ import annotations

from typing import Any

from keras_int8nmt.int8_transformer import EntryQuantizer, Int8Transformer
from keras_int8nmt.layers.int8_attention import Int8Attention
from keras_int8nmt.layers.int8_dense import Int8Dense
from keras_int8nmt.layers.int8_embedding import Int8Embedding
from keras_int8nmt.layers.packed_matmul import PackedMatmul
from keras_int8nmt.layers.residual_norm import ResidualNorm
from keras_int8nmt.model_description import (
    Attention,
    Block,
    Description,
    Embedding,
    Norm,
    Product,
    Projected,
)
from keras_int8nmt.quantization import QuantParams


def describe_int8(model: Int8Transformer) -> Description:
    """The description of a converted model; its tensors are the model's own."""

    def embedding(layer: Int8Embedding) -> Embedding:
        return Embedding(layer.table, layer.inv_scales, model.multiplier)

    return Description(model.settings["source_vocabulary_size"]).model(
        model.settings,
        model.positions,
        (embedding(model.source_embedding), embedding(model.target_embedding)),
        (
            (_entry(model.encoder_entry), [_encoder_block(b) for b in model.encoder_blocks]),
            (_entry(model.decoder_entry), [_decoder_block(b) for b in model.decoder_blocks]),
        ),
        _dense(model.output_projection),
    )


def _entry(layer: EntryQuantizer | ResidualNorm) -> Norm | QuantParams | None:
    return _norm(layer) if isinstance(layer, ResidualNorm) else layer.output_params


def _norm(layer: ResidualNorm) -> Norm:
    return Norm(layer.gamma, layer.beta, layer.epsilon, layer.carry, layer.output_params)


def _packed(
    matmul: PackedMatmul,
    input_params: QuantParams,
    output: QuantParams | None = None,
    activation: str = "none",
) -> Product:
    step = PackedMatmul.output_step(output, activation)
    return Product(
        matmul.shape,
        matmul.packed,
        matmul.scales,
        matmul.bias,
        activation,
        input_params,
        output,
        None if output is None else step.get("out_scale", 1.0),
    )


def _dense(layer: Int8Dense) -> Product:
    return _packed(layer.matmul, layer.input_params, layer.output_params, layer.fused_activation)


def _attention(layer: Int8Attention, of_memory: tuple[str, ...] = ()) -> Attention:
    """`of_memory` names the projections that read the encoder's output."""
    projections = []
    for group, params in layer.input_params.items():
        members = group.split("_")
        columns = {name: layer.columns(name)[1] for name in members}
        # All heads of a group are int8 codes whose scales are folded into the product.
        product = _packed(layer.product(group), params, layer.head_params[members[0]])
        projections.append(Projected(product, columns, members[0] in of_memory))
    return Attention(
        layer.num_heads,
        layer.key_dim,
        layer.value_dim,
        "int8",
        "int8",
        layer.score_scale,
        layer.context_params,
        layer.context_scale,
        projections,
        _packed(layer.output_product, layer.context_params),
    )


def _encoder_block(block: Any) -> Block:
    return Block(
        _attention(block.attention),
        _norm(block.attention_norm),
        _dense(block.ffn_in),
        _dense(block.ffn_out),
        _norm(block.ffn_norm),
    )


def _decoder_block(block: Any) -> Block:
    return Block(
        _attention(block.self_attention),
        _norm(block.self_attention_norm),
        _dense(block.ffn_in),
        _dense(block.ffn_out),
        _norm(block.ffn_norm),
        _attention(block.cross_attention, ("key", "value")),
        _norm(block.cross_attention_norm),
    )
