"""What a runtime is on this machine: a root, a bootstrap, and how to start a function on it."""

from lambent.engine.runtimes.catalogue import Runtimes
from lambent.engine.runtimes.runtime import Missing, Runtime, Start

__all__ = ["Missing", "Runtime", "Runtimes", "Start"]
