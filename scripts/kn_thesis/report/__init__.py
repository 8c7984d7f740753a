"""The report: what all figures and pages share."""
