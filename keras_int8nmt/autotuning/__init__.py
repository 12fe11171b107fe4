"""Automatic precision: the fastest conversion whose loss stays within a tolerance.

candidates.py   what conversions there are to try: the one place to add another
costs.py        what each MatMul costs in INT8 and in float32, by counting
sensitivity.py  how much the INT8 of one MatMul moves the model's predictions
frontier.py     which MatMuls to leave float, for each amount of time
search.py       which of them to evaluate, and when to stop
state.py        what was measured, in a file, so that a run goes on
result.py       what was chosen, and what was tried: a policy of `convert`
tune.py         `autotune`: all of it on a model
"""
