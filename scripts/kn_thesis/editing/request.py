"""What an edit asks for, and what the edited model is asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from kn_thesis.corpora.gaps import GAP, Encoded, filled


@dataclass(frozen=True)
class Question:
    """A prompt, before and after an edit.

    criterion: of names.CRITERIA. text: the prompt, its gap written "___". expected: the word that is right after a
    successful edit, but for symmetry_old: there it is what the model must no longer say. rival: the word that is right
    before the edit (for locality, where that is `expected`, the edit's new answer). expected_prompt, rival_prompt: the
    prompt in tokens with either word for its gap; rival_prompt is None where the tokenizer cannot put the rival there.
    near: of locality, whether the other subject has the object that the edit replaces.
    """

    criterion: str
    text: str
    expected: str
    rival: str
    expected_prompt: Encoded
    rival_prompt: Encoded | None = None
    near: bool = False


@dataclass(frozen=True)
class Request:
    """One edit: the prompt `prefix` + gap + `suffix` shall be answered by `new` instead of `old`.

    name: unique within a task. kind: "relation" or "paradigm". cluster: the fact, or the noun a pair is about.
    subject_at: character at which the subject begins in the prompt with an answer (corpora.cues.Stretch).
    new_prompt, old_prompt: the prompt in tokens with either answer. subject_token: the subject's last token in them.
    paraphrases: prompts of the same fact with `old` as their target, the edited one first; where knowledge neurons are
    looked for. glued: whether the answer follows `prefix` without a space.
    """

    name: str
    task: str
    kind: str
    cluster: str
    prefix: str
    suffix: str
    subject: str
    subject_at: int
    old: str
    new: str
    new_prompt: Encoded
    old_prompt: Encoded
    subject_token: int
    paraphrases: tuple[Encoded, ...] = field(default=())
    glued: bool = False

    @property
    def text(self) -> str:
        """The prompt, its gap written "___"."""
        return f"{filled(self.prefix, GAP, self.glued)}{self.suffix}"
