"""These tests look at the built site, in the site's own environment: `make test-site`."""

import sys
from pathlib import Path

if Path(sys.prefix).name != "site-venv":
    collect_ignore_glob = ["test_*.py"]
