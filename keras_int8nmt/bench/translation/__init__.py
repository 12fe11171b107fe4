"""`bench translate`: whole engines side by side on the same weights and sentences.

cases       what is measured: names, sentences, search settings
models      the models, saved once as folders that every engine reads
engines     one file a library; runs inside a worker
worker      the child process; `client` is its face in the parent
rounds      turns, A B A B
figures     from times to rows
report      the table, the JSON and the plot
run         all of it, in order
"""
