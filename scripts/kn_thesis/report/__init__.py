"""The report: pages, provenance, verdicts on the claims, and the comparison of two runs."""
