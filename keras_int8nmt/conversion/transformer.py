"""`Transformer` to `Int8Transformer`: which layer's codes feed which product."""

from __future__ import annotations

from typing import Any

from keras_int8nmt.conversion.layers import (
    ALL_INT8,
    Dense,
    convert_attention,
    convert_dense,
    convert_embedding,
    convert_norm,
    matmuls_of,
    product_layer,
    report_row,
)
from keras_int8nmt.conversion.options import ConversionOptions
from keras_int8nmt.conversion.policy import Assignment, ListedMatMul
from keras_int8nmt.conversion.report import MatMulRow
from keras_int8nmt.layers.inference.int8_dense import fused_activation
from keras_int8nmt.layers.matmuls import MatMul, WeightMatMul, array, values_of
from keras_int8nmt.layers.projections import CROSS_ATTENTION, SELF_ATTENTION
from keras_int8nmt.models.int8_blocks import Int8DecoderBlock, Int8EncoderBlock
from keras_int8nmt.models.int8_transformer import EntryQuantizer, Int8Transformer
from keras_int8nmt.models.transformer import Transformer
from keras_int8nmt.quantization import QuantParams

# Which projections of an attention read one tensor.
_INPUTS = {
    "attention": SELF_ATTENTION,
    "self_attention": SELF_ATTENTION,
    "cross_attention": CROSS_ATTENTION,
}

# Between the layers of a converted Transformer there are float32 and codes, whatever the policy of
# the float model.
_DTYPE = "float32"

# The norm, or the entry, before a sub-layer, and the codes that the sub-layer reads from it: None
# where one of the products that read it is float, which then is what all of them are handed.
Reader = tuple[Any, QuantParams | None]


def transformer_products(model: Transformer) -> list[MatMul]:
    """Every MatMul of a `Transformer`, in the order of the report."""
    found: list[MatMul] = []
    for block in (*model.encoder_blocks, *model.decoder_blocks):
        for name in block.attentions:
            found.extend(matmuls_of(getattr(block, name)))
        found.extend([*matmuls_of(block.ffn_in), *matmuls_of(block.ffn_out)])
    return [*found, output_matmul(model)]


def transformer_matmuls(
    model: Transformer, options: ConversionOptions = ALL_INT8.options
) -> list[ListedMatMul]:
    """Likewise, as policies see them.

    None of a plain one, which can't be calibrated, unless scales are dynamic.
    """
    if not (model.quant or options.dynamic):
        return []
    rectified = {
        block.ffn_out.path
        for block in (*model.encoder_blocks, *model.decoder_blocks)
        if fused_activation(block.ffn_in.activation) == "relu"
    }
    return [
        ListedMatMul(m.name, m.kind, sparse=m.path in rectified)
        for m in transformer_products(model)
    ]


def output_matmul(model: Transformer) -> WeightMatMul:
    """The output projection, by a layer of its own or by the table of the target embedding."""
    if model.output_projection is not None:
        (matmul,) = matmuls_of(model.output_projection)
        assert isinstance(matmul, WeightMatMul)
        return matmul
    return WeightMatMul(
        "output_projection",
        lambda: array(model.target_embedding.embeddings).T,
        values_of(model.output_bias),
        (model.output_observer,) if model.quant else (),
    )


def _codes(matmul: WeightMatMul, assignment: Assignment) -> QuantParams | None:
    """The codes that a product reads; None where it reads float32."""
    return matmul.observers[0].params() if assignment.reads_codes(matmul.name) else None


def _dense_codes(layer: Any, assignment: Assignment) -> QuantParams | None:
    """Likewise a dense layer."""
    (matmul,) = matmuls_of(layer)
    assert isinstance(matmul, WeightMatMul)
    return _codes(matmul, assignment)


def _attention_codes(attention: Any, assignment: Assignment, name: str) -> QuantParams | None:
    """Likewise all projections of an attention layer that read what the projection `name` reads."""
    if assignment.options.dynamic:
        return None
    inputs = attention.observed_inputs().items()
    ((group, observer),) = [(group, o) for group, o in inputs if name in group.names]
    readers = [f"{attention.path}/{reader}" for reader in group.names]
    return observer.params() if assignment.is_int8(*readers) else None


def _memory_codes(model: Transformer, assignment: Assignment) -> QuantParams | None:
    """How the encoder's output is quantized: by its last norm if all its readers agree."""
    wanted = {_attention_codes(b.cross_attention, assignment, "key") for b in model.decoder_blocks}
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


def _convert_blocks(
    stack: _Stack, blocks: list[Any], attentions: tuple[str, ...], block_class: Any
) -> tuple[Any, list[Any]]:
    """The entry and the converted blocks of a stack of `attentions` and feed-forward parts."""
    assignment = stack.assignment
    own: list[Reader] = []
    for block in blocks:
        for name in attentions:
            codes = _attention_codes(getattr(block, name), assignment, "query")
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
                parts["ffn_in"] = convert_dense(
                    block.ffn_in, assignment, output_params=hidden, dtype=_DTYPE
                )
                parts["ffn_out"] = convert_dense(block.ffn_out, assignment, dtype=_DTYPE)
            else:
                attention = getattr(block, name)
                parts[name] = convert_attention(attention, assignment, _INPUTS[name], dtype=_DTYPE)
            parts[name + "_norm"] = convert_norm(norm, stack.carry, params, assignment)
        converted.append(block_class(parts=parts, name=block.name))
    return entry, converted


def _convert_output(model: Transformer, assignment: Assignment) -> Dense:
    """The output projection."""
    if model.output_projection is not None:
        return convert_dense(model.output_projection, assignment, dtype=_DTYPE)
    return product_layer(output_matmul(model), None, assignment, name="output_projection")


def convert_transformer(
    model: Transformer, assignment: Assignment
) -> tuple[Int8Transformer, list[MatMulRow]]:
    """The converted model and the report's rows; the float model is only read."""
    config = model.get_config()
    # The largest first: what it takes for a while is free again for all others.
    source = convert_embedding(model.source_embedding, assignment, dtype=_DTYPE)
    shared = model.target_embedding is model.source_embedding
    target = model.target_embedding
    target = source if shared else convert_embedding(target, assignment, dtype=_DTYPE)
    output = _convert_output(model, assignment)
    pre_norm = config["norm"] == "pre"
    memory = (model.encoder_norm, _memory_codes(model, assignment))
    encoder = _Stack(pre_norm, memory, assignment)
    encoder_entry, encoder_blocks = _convert_blocks(
        encoder, model.encoder_blocks, ("attention",), Int8EncoderBlock
    )
    output_codes = _codes(output_matmul(model), assignment)
    decoder = _Stack(pre_norm, (model.decoder_norm, output_codes), assignment)
    decoder_entry, decoder_blocks = _convert_blocks(
        decoder, model.decoder_blocks, ("self_attention", "cross_attention"), Int8DecoderBlock
    )
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
    int8.search_defaults = model.search_defaults
    return int8, [report_row(matmul, assignment) for matmul in transformer_products(model)]
