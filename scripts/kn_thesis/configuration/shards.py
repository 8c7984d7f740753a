"""Typed form of the configuration's section `tasks.shards`: how large tasks are split over jobs."""

from __future__ import annotations

from pydantic import Field

from kn_thesis.configuration.types import Count, Strict, Whole
from kn_thesis.shards import BLOCK, EDITS


class Shards(Strict):
    """Most prompts of a task that one job does: larger tasks are split over jobs; null: none is."""

    attribution: Whole | None = Field(None, ge=BLOCK, description="prompts whose neurons are localized")
    suppression: Whole | None = Field(None, ge=BLOCK, description="prompts at which neurons are suppressed")
    tracing: Count | None = Field(None, description="prompts that are traced")
    editing: Whole | None = Field(None, ge=EDITS, description="requests")
