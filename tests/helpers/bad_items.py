"""Lines of pairs, patterns and facts that are wrong in one way, made from right ones."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

Row = dict[str, Any]
CAPITALS = [("France", "Paris"), ("Peru", "Lima"), ("Chad", "N'Djamena"), ("Côte d'Ivoire", "Abidjan")]
RIGHT: dict[str, list[Row]] = {
    "pairs": [
        {
            "sentence_good": f"The {noun} near the boys sees every chair .",
            "sentence_bad": f"The {noun} near the boys see every chair .",
            "one_prefix_method": True,
            "linguistics_term": "subject_verb_agreement",
            "target_number": "singular",
            "noun": noun,
            "cue": f"The {noun}",
            "distractor": "the boys",
            "pairID": str(number),
        }
        for number, noun in enumerate(["teacher", "sister", "doctor", "lawyer", "friend"])
    ],
    "patterns": [
        {"pattern": pattern, "split": split}
        for pattern, split in [("The capital of [X] is [Y] .", "trained"), ("[Y] lies in [X] .", "held_out")]
    ],
    "facts": [
        {"sub_label": country, "obj_label": capital, "uuid": f"capital-{country}", "concept": None}
        for country, capital in [
            ("France", "Paris"),
            ("Peru", "Lima"),
            ("Chad", "N'Djamena"),
            ("Côte d'Ivoire", "Abidjan"),
        ]
    ],
}
NEEDED = {
    "pairs": ("sentence_good", "sentence_bad", "one_prefix_method"),
    "patterns": ("pattern",),
    "facts": ("sub_label", "obj_label", "uuid"),
}
TYPES = st.one_of(
    st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.just([]), st.just({})
)
BLANK = st.sampled_from(["", " ", "\t", " \n ", "\u00a0"])
CONTROL = st.sampled_from(["\0", "\x07", "\x1b[31m", "\x7f", "\x9b"])
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="[]XY"), max_size=12)


def lines(rows: list[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@st.composite
def wrong_rows(draw: st.DrawFn, kind: str) -> tuple[str, int, str]:
    """A way, the number of the wrong line, and the text."""
    rows = [dict(row) for row in RIGHT[kind]]
    at = draw(st.integers(0, len(rows) - 1))
    row = rows[at]
    ways = ["missing", "null", "type", "control", "type of an optional key", "misspelt"]
    ways += {"pairs": ["blank", "number", "cue", "twice"], "patterns": ["blank", "slots", "split"]}.get(
        kind, ["blank", "twice"]
    )
    way = draw(st.sampled_from(ways))
    key = draw(st.sampled_from(NEEDED[kind]))
    optional = draw(st.sampled_from(sorted(set(row) - set(NEEDED[kind]))))
    if way == "missing":
        del row[key]
    elif way == "null":
        row[key] = None
    elif way == "type":
        row[key] = draw(TYPES.filter(lambda value: not isinstance(value, type(row[key]))))
    elif way == "blank":
        key = NEEDED[kind][0]
        row[key] = draw(BLANK)
    elif way == "control":
        key = NEEDED[kind][0]
        row[key] = f"{row[key]} {draw(CONTROL)}"
    elif way == "type of an optional key":
        row[optional] = draw(TYPES.filter(lambda value: optional != "pairID" or type(value) is not int))
    elif way == "misspelt":
        name = draw(st.sampled_from([key, optional]))
        place = draw(st.integers(0, len(name) - 1))
        row[name[:place] + name[place + 1 :]] = row.pop(name)
    elif way == "number":
        row["target_number"] = draw(TEXT.filter(lambda text: text not in ("", "singular", "plural")))
    elif way == "cue":
        row[draw(st.sampled_from(["cue", "distractor"]))] = "the cats"
    elif way == "split":
        row["split"] = draw(TEXT.filter(lambda text: text not in ("", "trained", "held_out")))
    elif way == "slots":
        slots = st.sampled_from(["{} [X] .", "{} [Y] .", "{} .", "[X] [Y] {} [X] [Y] .", "[x] {} [y]"])
        row["pattern"] = draw(slots).format(draw(TEXT))
    elif way == "twice":
        name = "pairID" if kind == "pairs" else "uuid"
        row[name] = rows[at - 1][name]
    where = "".join(f"{name}: {value!r}, " for name, value in row.items())
    return f"{kind}: {way} in line {at + 1}: {where}", at + 1, lines(rows)


DEEP = 100_000
WRONG_LINES = {
    "cut short": '{"%s": "x',
    "no object": '["%s"]',
    "word": "word",
    "number": "7",
    "null": "null",
    "key twice": '{"%s": "x", "%s": "y"}',
    "NaN": '{"%s": NaN}',
    "infinity": '{"%s": -Infinity}',
    "two objects": '{"%s": "x"} {"%s": "y"}',
    "comma at the end": '{"%s": "x",}',
    "single quotes": "{'%s': 'x'}",
    "comment": '# {"%s": "x"}',
    "lone surrogate": '{"%s": "\\ud800"}',
    "second half alone": '{"%s": "x\\udfffy"}',
    "nested deep": '{"%s": ' + "[" * DEEP + "]" * DEEP + "}",
    "nested deep, open": '{"%s": ' * DEEP,
    "number without end": '{"%s": ' + "1" * 5000 + "}",
    "raw control character": '{"%s": "a\0b"}',
    "raw tab": '{"%s": "a\tb"}',
    "wrong escape": '{"%s": "\\x41"}',
    "byte-order mark inside": '\ufeff{"%s": "x"}',
    "CSV": "%s,x,y",
    "HTML": "<html>%s</html>",
    "very long line": '{"%s": ' + '"x' * 3_000_000,
    "git's pointer": "version https://git-lfs.github.com/spec/v1",
}


def file_with(kind: str, line: str) -> str:
    """A right file with a wrong line as its third (or last)."""
    rows = RIGHT[kind]
    wrong = line.replace("%s", NEEDED[kind][0])
    return lines(rows[:2]) + wrong + "\n" + lines(rows[2:])


# Not refused but counted: the way, what changes the rows, and the reason under which items are counted.
COUNTED: dict[str, tuple[str, Any, str]] = {
    "pair of equal sentences": (
        "pairs",
        {"sentence_bad": RIGHT["pairs"][1]["sentence_good"]},
        "sentences are the same",
    ),
    "pair that differs in two words": (
        "pairs",
        {"sentence_bad": "The sister near the boys see all chair ."},
        "sentences differ in more than one word",
    ),
    "pair given twice": ("pairs", RIGHT["pairs"][0] | {"pairID": "x"}, "pair given twice"),
    "fact given twice": ("facts", RIGHT["facts"][0] | {"uuid": "x"}, "fact given twice"),
    "pattern given twice": ("patterns", RIGHT["patterns"][0], "pattern given twice"),
    "word beside its gap": ("patterns", {"pattern": "[X]ish[Y] ."}, "gap is inside a word"),
}
