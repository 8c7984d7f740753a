"""Suppression: what neurons do, measured by taking them away, doubling them, or holding them at their mean."""
