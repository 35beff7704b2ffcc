"""What a runtime is on this machine: a root, a bootstrap, and how to start a function on it."""

from lambent.engine.runtimes.catalogue import Row, Runtimes, components
from lambent.engine.runtimes.installation import BaseImage, Installation
from lambent.engine.runtimes.registries import FetchError
from lambent.engine.runtimes.runtime import Missing, Runtime, Start

__all__ = ["BaseImage", "FetchError", "Installation", "Missing", "Row", "Runtime", "Runtimes", "Start", "components"]
