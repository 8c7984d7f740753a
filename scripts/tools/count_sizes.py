"""Write resources/sizes.yaml: the sizes of the tasks of the public corpora and of the miniature's world.

    python scripts/tools/count_sizes.py MIRROR WORLD

MIRROR is a mirror's folder, WORLD the folder results/corpora/world-baseline of any study.
"""

import argparse
import re
from pathlib import Path

import yaml

import _path  # noqa: F401
from kn_thesis.configuration.tasks import OBJECTIVES, TASKS_FILE, task_table
from kn_thesis.plan.sizes import SIZES_FILE, count_task, numbers

ROOT = Path(__file__).resolve().parents[2]
HEAD = """\
# How large each task is, before anything is fetched or written; the plan of a study is made of these (docs/plan.md).
# Counted from the corpora's files by scripts/tools/count_sizes.py, in words (kn_thesis/plan/sizes.py).
"""


def places(mirror: Path, world: Path) -> dict[str, dict[str, str]]:
    """Return the paths of each corpus's files, with {task} for the name of a task."""
    return {
        "fetched": {
            "pairs": f"{mirror}/blimp/data/{{task}}.jsonl",
            "patterns": f"{mirror}/pararel/data/pattern_data/graphs_json/{{task}}.jsonl",
            "facts": f"{mirror}/pararel/data/trex_lms_vocab/{{task}}.jsonl",
        },
        "world": {
            "pairs": f"{world}/paradigms/{{task}}.jsonl",
            "patterns": f"{world}/relations/{{task}}.patterns.jsonl",
            "facts": f"{world}/relations/{{task}}.facts.jsonl",
        },
    }


def main() -> None:
    """Count every task of both corpora, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mirror", type=Path)
    parser.add_argument("world", type=Path)
    arguments = parser.parse_args()
    table = task_table(yaml.safe_load((ROOT / TASKS_FILE).read_text(encoding="utf-8")))
    lines = [HEAD]
    for corpus, files in places(arguments.mirror, arguments.world).items():
        lines.append(f"{corpus}:\n")
        for task in (*table.paradigms.values(), *table.relations.values()):
            parts = ["pairs"] if task.kind == "paradigm" else ["patterns", "facts"]
            kinds = [kind for kind in OBJECTIVES if kind in task.takes]
            if not task.is_in(corpus) or not kinds:
                continue
            lines.append(f"  {task.name}:\n")
            for kind in kinds:
                size = count_task(task.name, kind, {part: files[part].format(task=task.name) for part in parts})
                written = yaml.safe_dump(numbers(size), default_flow_style=True, sort_keys=False, width=1000).strip()
                lines.append(f"    {kind}: {re.sub(' +', ' ', written)}\n")
    (ROOT / SIZES_FILE).write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
