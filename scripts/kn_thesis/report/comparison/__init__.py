"""Two runs set side by side: their tables matched row by row, tested, and shown on one page."""
