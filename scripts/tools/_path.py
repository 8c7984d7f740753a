"""Put the package's folder on the path: every tool that runs on its own imports `_path` before the package."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
