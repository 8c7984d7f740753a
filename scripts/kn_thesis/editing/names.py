"""Names that the chapter's tables, figures and sentences share."""

from __future__ import annotations

# The status of a request: that it was edited, or why not.
EDITED = "edited"
UNKNOWN = "the model does not know it"
NO_OBJECT = "no other object of the relation fits"
NO_SUBJECT = "its subject has no token before the gap"
NOT_SAMPLED = "more than the study asks"
TOO_LONG = "longer than the model's positions"
NO_NEURONS = "no knowledge neuron was found"
DIVERGED = "the optimisation diverged"
SINGULAR = "the covariance is singular"
ELSEWHERE = "in another shard"

# What an edit is asked, and what is right afterwards: a relation's criteria, then those of an agreement edit. The
# authors' poster has four rows of those: reliability and other distractor, subject and both.
CRITERIA = {
    "reliability": "the edited prompt gives the new answer",
    "generality": "other wordings give the new answer",
    "locality": "other subjects keep their answer",
    "symmetry_new": "the new object's side returns the subject",
    "symmetry_old": "the old object's side no longer does",
    "synonymy": "the synonymous question gives the new answer",
    "other_verb": "another verb after the same subject and distractor changes its number, too",
    "other_distractor": "the same subject with another distractor takes the new form, too",
    "other_subject": "another subject with the same distractor takes the new form, too",
    "other_both": "another subject with another distractor takes the new form, too",
}
RELATION_CRITERIA = ("reliability", "generality", "locality", "symmetry_new", "symmetry_old", "synonymy")
AGREEMENT_CRITERIA = ("reliability", "other_verb", "other_distractor", "other_subject", "other_both")
