"""Read by every Python with this folder on its path: SANITIZED_ENGINE names the engine that replaces the usual one.

It is loaded here since tests start further processes, which would find the usual one.
"""

import importlib.util
import os
import sys

NAME = "triscale.deploy.engine._engine"

spec = importlib.util.spec_from_file_location(NAME, os.environ["SANITIZED_ENGINE"])
assert spec is not None
assert spec.loader is not None
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
sys.modules[NAME] = module
