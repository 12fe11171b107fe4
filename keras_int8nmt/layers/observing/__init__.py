"""What watches a tensor while a model is calibrated or trained; Quant layers hold it."""
