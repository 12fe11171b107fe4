"""`Transformer` to `Int8Transformer`: which layer's codes feed which product."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_int8nmt.conversion.layers import (
    ALL_INT8,
    Dense,
    array,
    attention_inputs,
    attention_matmuls,
    convert_attention,
    convert_dense,
    convert_embedding,
    convert_norm,
    dense_layer,
    product_bias,
    report_row,
)
from keras_int8nmt.conversion.options import ConversionOptions
from keras_int8nmt.conversion.policy import Assignment, MatMul
from keras_int8nmt.conversion.report import MatMulRow
from keras_int8nmt.layers.inference.int8_dense import fused_activation
from keras_int8nmt.models.int8_blocks import Int8DecoderBlock, Int8EncoderBlock
from keras_int8nmt.models.int8_transformer import EntryQuantizer, Int8Transformer
from keras_int8nmt.models.transformer import Transformer
from keras_int8nmt.quantization import QuantParams

# Which projections of an attention read one tensor.
_INPUTS = {
    "attention": ("query_key_value",),
    "self_attention": ("query_key_value",),
    "cross_attention": ("query", "key_value"),
}

# The norm, or the entry, before a sub-layer, and the codes that the sub-layer reads from it: None
# where one of the products that read it is float, which then is what all of them are handed.
Reader = tuple[Any, QuantParams | None]


def transformer_matmuls(
    model: Transformer, options: ConversionOptions = ALL_INT8.options
) -> list[MatMul]:
    """Every MatMul of a `Transformer`, in the order of the report.

    None of a plain one, which can't be calibrated, unless scales are dynamic.
    """
    if not (model.quant or options.dynamic):
        return []
    found = []
    for block in (*model.encoder_blocks, *model.decoder_blocks):
        for name in block.attentions:
            found.extend(attention_matmuls(getattr(block, name)))
        sparse = fused_activation(block.ffn_in.activation) == "relu"
        found.extend([MatMul(block.ffn_in.path), MatMul(block.ffn_out.path, sparse=sparse)])
    return [*found, MatMul(_output_name(model))]


def _output_name(model: Transformer) -> str:
    projection = model.output_projection
    return "output_projection" if projection is None else projection.path


def _dense_codes(layer: Any, assignment: Assignment) -> QuantParams | None:
    """The codes that a dense layer reads; None where it reads float32."""
    return layer.input_observer.params() if assignment.reads_codes(layer.path) else None


def _attention_codes(attention: Any, assignment: Assignment, index: int = 0) -> QuantParams | None:
    """Likewise the codes of an attention layer's query input, or of another one of its inputs."""
    if assignment.options.dynamic:
        return None
    group, observer = list(attention_inputs(attention).items())[index]
    readers = [f"{attention.path}/{name}" for name in group.split("_")]
    return observer.params() if assignment.is_int8(*readers) else None


def _memory_codes(model: Transformer, assignment: Assignment) -> QuantParams | None:
    """How the encoder's output is quantized: by its last norm if all its readers agree."""
    wanted = {_attention_codes(b.cross_attention, assignment, 1) for b in model.decoder_blocks}
    return wanted.pop() if len(wanted) == 1 else None


class _Stack:
    """Walks a stack of blocks and knows, for each norm, the product that reads its output.

    A post-norm norm belongs to the sub-layer before it, a pre-norm one to the sub-layer after it;
    both are handed on as "the norm that follows sub-layer i" (see `int8_blocks`).
    """

    def __init__(self, pre_norm: bool, final: Reader, assignment: Assignment) -> None:
        self.carry = "sum" if pre_norm else "norm"
        self.pre_norm = pre_norm
        self.final = final
        self.assignment = assignment
        self.rows: list[MatMulRow] = []

    def norms(self, own: list[Reader], position: int) -> Reader:
        """The float norm after sub-layer `position`, and the codes that its reader wants.

        `own` lists the norm and the input codes of every sub-layer of the stack, in order.
        """
        following = own[position + 1] if position + 1 < len(own) else None
        if self.pre_norm:
            return self.final if following is None else following
        return own[position][0], self.final[1] if following is None else following[1]

    def entry(self, own: list[Reader]) -> Any:
        norm, params = own[0]
        if self.pre_norm:
            return convert_norm(norm, self.carry, params, self.assignment)
        return EntryQuantizer(output_params=params)

    def keep(self, converted: tuple[Any, list[MatMulRow]]) -> Any:
        layer, rows = converted
        self.rows.extend(rows)
        return layer


def _convert_blocks(
    stack: _Stack, blocks: list[Any], attentions: tuple[str, ...], block_class: Any
) -> tuple[Any, list[Any]]:
    """The entry and the converted blocks of a stack of `attentions` and feed-forward parts."""
    assignment = stack.assignment
    own: list[Reader] = []
    for block in blocks:
        for name in attentions:
            codes = _attention_codes(getattr(block, name), assignment)
            own.append((getattr(block, name + "_norm"), codes))
        own.append((block.ffn_norm, _dense_codes(block.ffn_in, assignment)))
    entry = stack.entry(own)
    position = 0
    converted = []
    for block in blocks:
        parts = {}
        for name in (*attentions, "ffn"):
            norm, params = stack.norms(own, position)
            position += 1
            if name == "ffn":
                hidden = _dense_codes(block.ffn_out, assignment)
                ffn_in = convert_dense(block.ffn_in, assignment, output_params=hidden)
                parts["ffn_in"] = stack.keep(ffn_in)
                parts["ffn_out"] = stack.keep(convert_dense(block.ffn_out, assignment))
            else:
                attention = getattr(block, name)
                parts[name] = stack.keep(convert_attention(attention, assignment, _INPUTS[name]))
            parts[name + "_norm"] = convert_norm(norm, stack.carry, params, assignment)
        converted.append(block_class(parts=parts, name=block.name))
    return entry, converted


def _convert_output(
    model: Transformer, assignment: Assignment
) -> tuple[Dense, QuantParams | None, list[MatMulRow]]:
    """The output projection, the codes that it reads, and its row."""
    if model.output_projection is not None:
        dense, rows = convert_dense(model.output_projection, assignment)
        return dense, _dense_codes(model.output_projection, assignment), rows
    table = array(model.target_embedding.embeddings)
    name = _output_name(model)
    observers = [] if assignment.options.dynamic else [model.output_observer]
    params = observers[0].params() if observers else None
    kernel = np.ascontiguousarray(table.T)
    projection = dense_layer(
        kernel,
        product_bias(kernel, model.output_bias, observers, name, assignment),
        None,
        assignment,
        path=name,
        input_params=params,
        name="output_projection",
    )
    rows = [report_row(name, "weights", observers, assignment)]
    return projection, params if assignment.reads_codes(name) else None, rows


def convert_transformer(
    model: Transformer, assignment: Assignment
) -> tuple[Int8Transformer, list[MatMulRow]]:
    """The converted model and the report's rows; the float model is only read."""
    config = model.get_config()
    pre_norm = config["norm"] == "pre"
    memory = (model.encoder_norm, _memory_codes(model, assignment))
    encoder = _Stack(pre_norm, memory, assignment)
    encoder_entry, encoder_blocks = _convert_blocks(
        encoder, model.encoder_blocks, ("attention",), Int8EncoderBlock
    )
    output, output_codes, output_rows = _convert_output(model, assignment)
    decoder = _Stack(pre_norm, (model.decoder_norm, output_codes), assignment)
    decoder_entry, decoder_blocks = _convert_blocks(
        decoder, model.decoder_blocks, ("self_attention", "cross_attention"), Int8DecoderBlock
    )
    source, _ = convert_embedding(model.source_embedding, assignment)
    shared = model.target_embedding is model.source_embedding
    target = source if shared else convert_embedding(model.target_embedding, assignment)[0]
    int8 = Int8Transformer(
        config,
        source_embedding=source,
        target_embedding=target,
        encoder_entry=encoder_entry,
        encoder_blocks=encoder_blocks,
        decoder_entry=decoder_entry,
        decoder_blocks=decoder_blocks,
        output_projection=output,
        name=model.name,
    )
    return int8, [*encoder.rows, *decoder.rows, *output_rows]
