"""Speed on this machine, ours and the peer interleaved in one run; `keras-int8nmt bench NAME`."""
