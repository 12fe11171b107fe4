"""A converted model to the native decoder's description; INT8, float32 or mixed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras_int8nmt.layers.inference.dynamic_dense import DynamicDense
from keras_int8nmt.layers.inference.dynamic_matmul import DynamicMatmul
from keras_int8nmt.layers.inference.float_dense import FloatDense
from keras_int8nmt.layers.inference.float_embedding import FloatEmbedding
from keras_int8nmt.layers.inference.float_matmul import FloatMatmul
from keras_int8nmt.layers.inference.frozen_attention import FrozenAttention
from keras_int8nmt.layers.inference.int8_dense import Int8Dense, fused_activation
from keras_int8nmt.layers.inference.int8_embedding import Int8Embedding
from keras_int8nmt.layers.inference.packed_matmul import PackedMatmul
from keras_int8nmt.layers.inference.residual_norm import ResidualNorm
from keras_int8nmt.quantization import QuantParams
from keras_int8nmt.runtime.model_spec import (
    Attention,
    Block,
    Description,
    Embedding,
    Norm,
    NotDescribableError,
    Product,
    Projected,
    Weights,
    float_product,
)

if TYPE_CHECKING:
    from keras_int8nmt.models.int8_transformer import EntryQuantizer, Int8Transformer


def describe_converted(model: Int8Transformer, plain: bool = False) -> Description:
    """The description of a converted model; its tensors are the model's own.

    `plain` as in `Description`.
    """

    def embedding(layer: Int8Embedding | FloatEmbedding) -> Embedding:
        inv_scales = layer.inv_scales if isinstance(layer, Int8Embedding) else None
        return Embedding(layer.table, inv_scales, model.multiplier)

    return Description(model.settings["source_vocabulary_size"], plain).model(
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
    return Norm(
        layer.gamma, layer.beta, layer.epsilon, layer.carry, layer.output_params, layer.arithmetic
    )


def _product(
    matmul: PackedMatmul | DynamicMatmul | FloatMatmul,
    input_params: QuantParams | None,
    output: QuantParams | None = None,
    activation: str = "none",
) -> Product:
    if isinstance(matmul, FloatMatmul):
        return float_product(
            matmul.shape, lambda: matmul.kernel, matmul.bias, activation, output=output
        )
    if isinstance(matmul, DynamicMatmul):
        return Product(
            (matmul.shape[0], matmul.shape[1]),
            Weights(lambda: matmul.packed, matmul.kernel),
            matmul.scales,
            matmul.bias,
            activation,
            dynamic=True,
        )
    step = PackedMatmul.output_step(output, activation)
    return Product(
        matmul.shape,
        Weights(lambda: matmul.packed, matmul.kernel),
        matmul.scales,
        matmul.bias,
        activation,
        input_params,
        output,
        None if output is None else step.get("out_scale", 1.0),
    )


def _dense(layer: Int8Dense | DynamicDense | FloatDense) -> Product:
    if isinstance(layer, Int8Dense):
        return _product(layer.matmul, layer.input_params, layer.output_params, layer.fused)
    activation = fused_activation(layer.activation)
    if activation is None:
        raise NotDescribableError(f"The native decoder has no activation {layer.activation!r}.")
    if isinstance(layer, DynamicDense):
        return _product(layer.matmul, None, activation=activation)
    return float_product(
        layer.kernel.shape,
        lambda: layer.kernel,
        layer.bias,
        activation,
        output=layer.output_params,
    )


def _attention(layer: FrozenAttention, of_memory: tuple[str, ...] = ()) -> Attention:
    """`of_memory` names the projections that read the encoder's output."""
    core, plan = layer.core, layer.plan
    projections = []
    for group, product in core.projections.items():
        rule = plan.projections[group]
        # Written in one type; where that is int8, each member's scale is in the product itself,
        # unless the product is float32, which is then the only one of its group.
        columns = {name: plan.place_of(name)[1] for name in group.names}
        of_encoder = group.names[0] in of_memory
        described = _product(product, rule.input, rule.outputs[0])
        projections.append(Projected(described, columns, of_encoder))
    return Attention(
        plan.num_heads,
        plan.key_dim,
        plan.value_dim,
        plan.precision["QK"],
        plan.precision["AV"],
        plan.score_scale,
        plan.context_codes,
        plan.context_scale,
        projections,
        _product(core.output, plan.context_codes),
        plan.softmax,
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
