"""`Transformer` to `Int8Transformer`: which layer's codes feed which product."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_int8nmt.conversion_report import MatMulRow
from keras_int8nmt.int8_blocks import Int8DecoderBlock, Int8EncoderBlock
from keras_int8nmt.int8_transformer import EntryQuantizer, Int8Transformer
from keras_int8nmt.layer_conversion import (
    array,
    attention_inputs,
    convert_attention,
    convert_dense,
    convert_embedding,
    convert_norm,
    optional_array,
    report_row,
)
from keras_int8nmt.layers.int8_dense import Int8Dense
from keras_int8nmt.quantization import QuantParams
from keras_int8nmt.transformer import Transformer


def _reads(attention: Any) -> QuantParams:
    """How an attention layer's query input is quantized."""
    return next(iter(attention_inputs(attention).values())).params()


def _memory_params(model: Transformer) -> QuantParams | None:
    """How the encoder's output is quantized: by its last norm if all its readers agree."""
    wanted = {
        attention_inputs(b.cross_attention)["key_value"].params() for b in model.decoder_blocks
    }
    return wanted.pop() if len(wanted) == 1 else None


class _Stack:
    """Walks a stack of blocks and knows, for each norm, the product that reads its output.

    A post-norm norm belongs to the sub-layer before it, a pre-norm one to the sub-layer after it;
    both are handed on as "the norm that follows sub-layer i" (see `int8_blocks`).
    """

    def __init__(self, pre_norm: bool, final_norm: Any, final_params: QuantParams | None) -> None:
        self.carry = "sum" if pre_norm else "norm"
        self.pre_norm = pre_norm
        self.final = (final_norm, final_params)
        self.rows: list[MatMulRow] = []

    def norms(
        self, own: list[tuple[Any, QuantParams]], position: int
    ) -> tuple[Any, QuantParams | None]:
        """The float norm after sub-layer `position`, and the codes that its reader wants.

        `own` lists the norm and the input codes of every sub-layer of the stack, in order.
        """
        following = own[position + 1] if position + 1 < len(own) else None
        if self.pre_norm:
            return self.final if following is None else following
        return own[position][0], self.final[1] if following is None else following[1]

    def entry(self, own: list[tuple[Any, QuantParams]]) -> Any:
        norm, params = own[0]
        if self.pre_norm:
            return convert_norm(norm, self.carry, params)
        return EntryQuantizer(output_params=params)

    def keep(self, converted: tuple[Any, list[MatMulRow]]) -> Any:
        layer, rows = converted
        self.rows.extend(rows)
        return layer


def _convert_blocks(
    stack: _Stack, blocks: list[Any], attentions: tuple[str, ...], block_class: Any
) -> tuple[Any, list[Any]]:
    """The entry and the INT8 blocks of a stack of `attentions` and feed-forward parts."""
    own = []
    for block in blocks:
        for name in attentions:
            own.append((getattr(block, name + "_norm"), _reads(getattr(block, name))))
        own.append((block.ffn_norm, block.ffn_in.input_observer.params()))
    entry = stack.entry(own)
    position = 0
    converted = []
    for block in blocks:
        parts = {}
        for name in (*attentions, "ffn"):
            norm, params = stack.norms(own, position)
            position += 1
            if name == "ffn":
                hidden = block.ffn_out.input_observer.params()
                parts["ffn_in"] = stack.keep(convert_dense(block.ffn_in, output_params=hidden))
                parts["ffn_out"] = stack.keep(convert_dense(block.ffn_out))
            else:
                parts[name] = stack.keep(convert_attention(getattr(block, name)))
            parts[name + "_norm"] = convert_norm(norm, stack.carry, params)
        converted.append(block_class(parts=parts, name=block.name))
    return entry, converted


def _convert_output(model: Transformer) -> tuple[Int8Dense, list[MatMulRow]]:
    if model.output_projection is not None:
        return convert_dense(model.output_projection)
    table = array(model.target_embedding.embeddings)
    observer: Any = model.output_observer
    projection = Int8Dense.from_kernel(
        np.ascontiguousarray(table.T),
        optional_array(model.output_bias),
        None,
        input_params=observer.params(),
        name="output_projection",
    )
    return projection, [report_row("output_projection", "weights", [observer])]


def convert_transformer(model: Transformer) -> tuple[Int8Transformer, list[MatMulRow]]:
    """The INT8 model and the report's rows; the float model is only read."""
    config = model.get_config()
    pre_norm = config["norm"] == "pre"
    encoder = _Stack(pre_norm, model.encoder_norm, _memory_params(model))
    encoder_entry, encoder_blocks = _convert_blocks(
        encoder, model.encoder_blocks, ("attention",), Int8EncoderBlock
    )
    output, output_rows = _convert_output(model)
    decoder = _Stack(pre_norm, model.decoder_norm, output.input_params)
    decoder_entry, decoder_blocks = _convert_blocks(
        decoder, model.decoder_blocks, ("self_attention", "cross_attention"), Int8DecoderBlock
    )
    source, _ = convert_embedding(model.source_embedding)
    shared = model.target_embedding is model.source_embedding
    target = source if shared else convert_embedding(model.target_embedding)[0]
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
