"""Compare two runs: match their tables row by row, test the differences, and show them on one page."""
