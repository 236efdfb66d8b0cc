"""These tests look at the built site, in the site's own environment: `make test-site`."""

import importlib.util

if importlib.util.find_spec("playwright") is None:
    collect_ignore_glob = ["test_*.py"]
