"""Foreign input is data: it is never executed, never leads out of its folder, and never becomes a tag of a page."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from pydantic import TypeAdapter, ValidationError

from compare_runs import main
from kn_thesis.configuration.overlays import read_layer
from kn_thesis.configuration.types import HubId, Name, Revision, TaskName
from kn_thesis.editing.example_html import completions_html
from kn_thesis.errors import UserError
from kn_thesis.inputs import without_login
from kn_thesis.models.folder import check_model, fast_tokenizer
from kn_thesis.models.sources import snapshot
from kn_thesis.report.overview import overview
from kn_thesis.report.pages import Chapter, notebook_html, pack, page
from kn_thesis.report.show import markdown, table_html

ROOT = Path(__file__).parents[2]
UNSAFE_IMPORTS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}
UNSAFE_METHODS = {"read_pickle", "to_pickle", "full_load", "unsafe_load", "load_all"}
SAFE = "getattr(yaml, 'CSafeLoader', yaml.SafeLoader)"


def sources() -> Iterator[tuple[str, str]]:
    """Name and code of every script, module, notebook and rule, and of the examples."""
    folders = [ROOT / name for name in ("scripts", "workflow", "resources/examples")]
    for path in sorted(file for folder in folders for file in folder.rglob("*")):
        name = path.relative_to(ROOT).as_posix()
        if path.suffix == ".py":
            yield name, path.read_text()
        elif path.suffix == ".ipynb":
            cells = json.loads(path.read_text())["cells"]
            yield name, "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        elif path.suffix == ".smk" or path.name == "Snakefile":
            for number, line in enumerate(path.read_text().splitlines(), 1):
                assert not any(word in line for word in ("shell:", "pickle", "eval(", "exec(", "load_configfile")), (
                    f"{name}:{number}"
                )


def unsafe(code: str) -> list[str]:
    """Calls and imports in Python code that would execute data, or read formats that may hold code."""
    found = []
    tree = ast.parse(code)
    named = [node for node in ast.walk(tree) if isinstance(node, ast.Assign) and ast.unparse(node.value) == SAFE]
    safe = [ast.unparse(node.targets[0]) for node in named]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
            found += [name for name in names if name.split(".")[0] in UNSAFE_IMPORTS]
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        last = called.rsplit(".", 1)[-1]
        settings = {keyword.arg: keyword.value for keyword in node.keywords}
        wrong = called in UNSAFE_CALLS or last in UNSAFE_METHODS or called in ("torch.load", "torch.save", "np.save")
        for name in ("trust_remote_code", "shell", "allow_pickle", "weights_only"):
            wrong |= name in settings and ast.unparse(settings[name]) != "False"
        if called == "yaml.load":
            wrong |= ast.unparse(settings.get("Loader", node)) not in safe
        if last == "from_pretrained" and called != "save_pretrained":
            wrong |= ast.unparse(settings.get("trust_remote_code", node)) != "False"
            wrong |= "Tokenizer" not in called and ast.unparse(settings.get("use_safetensors", node)) != "True"
        found += [called] * wrong
    return found


def test_no_code_of_the_study_runs_data_or_reads_pickles() -> None:
    checked = dict(sources())
    assert len(checked) > 150 and sum(name.endswith(".ipynb") for name in checked) == 6
    assert not {name: found for name, code in checked.items() if (found := unsafe(code))}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "eval('1')",
        "torch.load(path)",
        "pd.read_pickle(path)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(command, shell=True)",
        "yaml.load(text, Loader=yaml.FullLoader)",
        "AutoTokenizer.from_pretrained(path)",
        "Model.from_pretrained(path, trust_remote_code=False)",
        "Model.from_pretrained(path, trust_remote_code=True, use_safetensors=True)",
    ],
)
def test_each_kind_would_be_found(code: str) -> None:
    assert unsafe(code)


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.mkdir [ran]",
        "a: !!python/name:os.system",
        "__use_yte__: true\na: ?__import__('os')",
    ],
)
def test_settings_are_plain_data(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(text)
    with pytest.raises(UserError, match=r"study\.yaml(, line 1)?: "):
        read_layer("study.yaml")
    assert not Path("ran").exists()


HOSTILE_NAMES = ["..", "../x", "a/../../x", "/etc/x", "a/b", "a\\b", "", "a\n", "a\0", "~x", "-x", "<b>", "a b", ".x"]


@pytest.mark.parametrize("kind", [Name, TaskName])
@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_that_become_files_hold_no_path(kind: type, name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(name)


@pytest.mark.parametrize(
    "name", [*(name for name in HOSTILE_NAMES if name != "a/b"), "a/b/c/..", "a//b", "refs/../../x"]
)
def test_ids_and_revisions_of_the_hub_lead_nowhere_else(name: str) -> None:
    for kind in (HubId, Revision):
        with pytest.raises(ValidationError):
            TypeAdapter(kind).validate_python(name)
    if name:
        with pytest.raises(UserError, match="is not a revision"):
            snapshot("owner/name", name)


@pytest.mark.parametrize("name", ["main", "v1.0", "refs/pr/12", "step1000-tokens2B", "0123456789abcdef"])
def test_usual_revisions_are_taken(name: str) -> None:
    assert TypeAdapter(Revision).validate_python(name) == name


def test_a_task_of_one_s_own_is_named_without_a_path(tmp_path: Path) -> None:
    from kn_thesis.configuration.check import check_configuration
    from kn_thesis.configuration.tasks import task_table

    tasks = task_table(read_layer(ROOT / "resources/tasks.yaml"))
    config = read_layer(ROOT / "tests/studies/smoke.yaml")
    config["tasks"]["own"] = {"paradigms": {"/etc/escaped": {"pairs": "pairs.jsonl"}}}
    with pytest.raises(UserError, match=r"tasks\.own\.paradigms\./etc/escaped: '/etc/escaped' is not allowed"):
        check_configuration(config, [("study.yaml", config)], tasks)


@pytest.mark.parametrize(
    "shard", ["../../elsewhere.safetensors", "/etc/x.safetensors", "model.bin", ["x"], {}, None, 1]
)
def test_shards_lie_beside_their_index(shard: object, tmp_path: Path) -> None:
    folder = tmp_path / "a/b"
    folder.mkdir(parents=True)
    (tmp_path / "elsewhere.safetensors").write_bytes(b"")
    (folder / "model.bin").write_bytes(b"")
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"wte.weight": shard}}))
    with pytest.raises(UserError, match=r"names shards that are not safetensors files next to it|lacks shards"):
        check_model(folder, "the model")


def test_a_tokenizer_reads_no_file_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("[UNK]\n[CLS]\n[SEP]\n[PAD]\n[MASK]\nmy\nsecret\n")
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "config.json").write_text('{"model_type": "bert"}')
    (source / "vocab.txt").write_text("[UNK]\n[CLS]\n[SEP]\n[PAD]\n[MASK]\n")
    settings = {"tokenizer_class": "BertTokenizer", "vocab_file": str(tmp_path / "secret")}
    (source / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="takes its vocab_file from another folder"):
        fast_tokenizer(source, "the model", target)
    assert not target.exists()


def test_the_archive_holds_nothing_from_outside_its_folder(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    with pytest.raises(ValueError, match="leads out of it"):
        pack([tmp_path / "report/../report/../secret.txt"], tmp_path / "report.zip")
    assert not (tmp_path / "report.zip").exists()


SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>"


def test_words_of_tables_are_no_tags(tmp_path: Path) -> None:
    """In a table's cells, headers and caption, in a notebook's paragraph, in a page's title and frame."""
    words = pd.DataFrame({SCRIPT: [SCRIPT, "x"], "n": [1, 2]})
    assert_harmless(table_html(words, SCRIPT, SCRIPT))
    chapters = [Chapter("index", SCRIPT, SCRIPT)]
    assert SCRIPT not in page(ROOT / "workflow/report/page.html.j2", chapters, "index", SCRIPT, "<h2>x</h2>")
    cell = {"cell_type": "code", "execution_count": 1, "metadata": {}, "source": f"'{SCRIPT}'"}
    shown = {"text/markdown": markdown(f"**{SCRIPT}** of 3 < 4").data, "text/plain": ""}
    kinds = [
        {"output_type": "display_data", "data": shown, "metadata": {}},
        {"output_type": "stream", "name": "stdout", "text": SCRIPT},
        {"output_type": "execute_result", "data": {"text/plain": SCRIPT}, "metadata": {}, "execution_count": 1},
    ]
    book = {"cells": [cell | {"outputs": kinds}], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
    (tmp_path / "x.ipynb").write_text(json.dumps(book))
    text = notebook_html(tmp_path / "x.ipynb", ROOT / "workflow/report")
    assert_harmless(text)
    assert text.count("alert(1)") >= 6 and "3 &lt; 4" in text


def assert_harmless(text: str) -> None:
    for tag in ("<script>alert", "<img src=x"):
        where = text.find(tag)
        assert where < 0, text[max(0, where - 300) : where + 40]


def test_names_on_the_first_page_are_no_tags(finished_study: Path) -> None:
    tables = {
        name: pd.read_csv(finished_study / f"results/tables/{name}.csv")
        for name in ("corpora", "models", "claims", "claim_parts")
    }
    study = read_layer(finished_study / "tests/studies/smoke.yaml") | {
        "study": SCRIPT,
        "seed": 1,
    }
    named = str(tables["models"]["model"].iloc[0])
    tables = {name: table.replace({named: SCRIPT}) for name, table in tables.items()}
    for name in ("says", "place", "measure"):
        tables["claims"][name] = SCRIPT
    study["corpora"] = {"source": "world"}
    study["models"][SCRIPT] = {"hub": {"id": SCRIPT}}
    figures = {1: str(finished_study / "results/figures/claim_1.svg")}
    text = overview(CHAPTERS, tables, figures, study, [SCRIPT])
    assert_harmless(text)
    assert "alert(1)" in text


CHAPTERS = [Chapter(name, SCRIPT, SCRIPT) for name in ("localization", "suppression", "tracing", "editing")]


def test_words_of_another_run_are_no_tags(tmp_path: Path) -> None:
    """Tables from somebody else, compared with ours; and texts that edited models write."""
    for run, value in (("a", 1), ("b", 2)):
        folder = tmp_path / run / SCRIPT.replace("/", "") / "tables"
        folder.mkdir(parents=True)
        rows = {"model": [SCRIPT, "x"], SCRIPT: [SCRIPT, value], "n": [value, value]}
        pd.DataFrame(rows).to_csv(folder / f"{SCRIPT.replace('/', '')}.csv", index=False)
        models = dict.fromkeys(("model", "family", "task", "kind", "split"), SCRIPT) | {"n": 9, "correct": value}
        models |= {"accuracy": 0.5, "low": 0.1, "high": 0.9}
        pd.DataFrame([models]).to_csv(folder / "models.csv", index=False)
    output = tmp_path / "out/page.html"
    folders = [str(next((tmp_path / run).iterdir())) for run in "ab"]
    assert main(["--first", folders[0], "--second", folders[1], "--output", str(output)]) == 0
    assert_harmless(output.read_text())
    assert output.read_text().count("alert(1)") > 5
    assert {path.parent for path in tmp_path.rglob("*.csv")} == {
        output.with_suffix(""),
        *(Path(folder) / "tables" for folder in folders),
    }
    row = dict.fromkeys(("model", "family", "editor", "kind", "task", "edit", "subject", "old", "new"), SCRIPT)
    row |= dict.fromkeys(("criterion", "question", "before", "after", "expected", "holds"), SCRIPT)
    written = completions_html(pd.DataFrame([row]), SCRIPT)
    assert_harmless(written)
    assert written.count("alert(1)") > 5


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("tried https://alice:secret@example.org/x", "tried https://example.org/x"),
        ("http://al:p@ss:w@example.org:8/@x and ftp://b@c", "http://example.org:8/@x and ftp://c"),
        ("https://example.org/a@b?c=d@e", "https://example.org/a@b?c=d@e"),
    ],
)
def test_addresses_lose_their_logins(text: str, left: str) -> None:
    assert without_login(text) == left
