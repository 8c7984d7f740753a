"""Names of the miniature world's tasks and variants; imports nothing, so that a workflow can read them cheaply."""

from __future__ import annotations

WORLD_PARADIGMS: tuple[str, ...] = (
    "determiner_noun_agreement_1",
    "determiner_noun_agreement_2",
    "determiner_noun_agreement_irregular_1",
    "determiner_noun_agreement_irregular_2",
    "determiner_noun_agreement_with_adjective_1",
    "determiner_noun_agreement_with_adj_2",
    "determiner_noun_agreement_with_adj_irregular_1",
    "determiner_noun_agreement_with_adj_irregular_2",
    "regular_plural_subject_verb_agreement_1",
    "irregular_plural_subject_verb_agreement_1",
    "anaphor_gender_agreement",
    "anaphor_number_agreement",
    "distractor_agreement_relational_noun",
)
"""BLiMP's names of the paradigms that the world has minimal pairs for."""

WORLD_RELATIONS: tuple[str, ...] = ("P36", "P1376", "P101", "P106", "P103", "P27", "P19", "complaint_specialist")
"""ParaRel's ids of the relations that the world has facts for, and one of the world's own."""

WORLD_VARIANTS: dict[str, dict[str, str]] = {
    "baseline": {},
    "swapped": {"bias": "swapped"},
    "flat": {"bias": "flat"},
    "one_way": {"directions": "one_way"},
}
"""What each variant of the world changes in its settings."""
