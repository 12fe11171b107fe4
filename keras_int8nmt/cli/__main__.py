"""`python -m keras_int8nmt.cli`."""

import sys

from keras_int8nmt.cli.command_line import main

sys.exit(main())
