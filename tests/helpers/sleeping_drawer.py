"""A stand-in for drawing that takes its time and no processor; in a module, as another process must find it."""

import time


def draw(_name, _explanations):
    """When it began and ended, by the clock that all processes share."""
    begun = time.monotonic()
    time.sleep(0.1)
    return begun, time.monotonic()
