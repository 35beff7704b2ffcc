"""A runtime without a sandbox, for `--isolation process`: reads its assignment from standard input and runs it."""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import python_runtime

assignment = json.loads(sys.stdin.buffer.read())
null = os.open("/dev/null", os.O_RDONLY)
os.dup2(null, 0)
python_runtime.preload()
sys.exit(python_runtime.run(assignment))
