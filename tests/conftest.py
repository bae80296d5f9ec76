"""What every test shares: one thread a worker, Ctrl-C heard, Keras on torch, and one hypothesis profile."""

import os
import signal

from hypothesis import settings

# Workers share the cores; read when torch is first imported, so that tests without torch stay quick.
os.environ["OMP_NUM_THREADS"] = "1"
# Threads of tests that ask for more would spin where another worker has the core.
os.environ["OMP_WAIT_POLICY"] = "passive"
os.environ["KERAS_BACKEND"] = "torch"
# A shell has its background jobs ignore Ctrl-C, and so would every process that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A passing change stays passing: examples are the same each time. `--hypothesis-profile=search` draws new ones.
settings.register_profile("gate", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile("gate")
