"""Keras layers: `Quant*` trains and is calibrated, `Int8*` is what conversion makes of it."""
