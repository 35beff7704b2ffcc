"""Starts AWS's Python runtime client in a fresh interpreter: behind a wrapper script, or with variables of the
function's that only a start can take in. Everything else is told by the environment, as on AWS."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import python_runtime

opt = os.environ.pop("LAMBENT_LAYERS", "/opt")  # elsewhere without a sandbox
python_runtime.preload()
sys.exit(python_runtime.run({"environment": dict(os.environ), "opt": opt}))
