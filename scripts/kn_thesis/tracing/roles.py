"""What part a token plays in a prompt: Meng et al.'s (2022, figure 1) roles, and one for distractors."""

from __future__ import annotations

# In the order in which they are drawn. The gap is a causal model's last token and a masked model's first mask.
ROLES = ("before", "cue first", "cue middle", "cue last", "first after", "distractor", "further", "gap")


def roles(tokens: int, cue: tuple[int, int], gap: int, distractor: tuple[int, int] | None = None) -> list[str]:
    """The role of each of a prompt's tokens; spans are the first token and one past the last.

    A cue of one token is its last. A token with two roles has the one that matters more: the cue, then the gap, then
    the distractor. What follows the cue is "first after", then "further", on whichever side of the gap.
    """
    found = ["before" if token < cue[0] else "further" for token in range(tokens)]
    if cue[1] < tokens:
        found[cue[1]] = "first after"
    for token in range(*(distractor or (0, 0))):
        found[token] = "distractor"
    found[gap] = "gap"
    for token in range(*cue):
        found[token] = "cue last" if token == cue[1] - 1 else "cue first" if token == cue[0] else "cue middle"
    return found


def shared_site(cue: tuple[int, int], gap: int) -> bool:
    """Whether the cue's last token is also where the gap is read: early and late site are then one token."""
    return cue[1] - 1 == gap
