"""The report: a papermill notebook per chapter, a front page, a provenance page, and an archive of them all."""

from kn_thesis.report.claims.rules import read_rules
from kn_thesis.report.pages import notebook_files
from kn_thesis.report.provenance import timed_rules

CHAPTERS = [
    {"name": name, "title": title, "summary": summary}
    for name, title, summary in (
        ("corpora", "Corpora", "What the models are asked, what was kept of it, and why the rest was not."),
        ("models", "Models", "Which models take part, and what each of them has learned."),
        (
            "localization",
            "Localization",
            "Which MLP neurons carry determiner-noun agreement, and which carry facts.",
        ),
        (
            "suppression",
            "Suppression",
            "What happens to words when these neurons are taken away, and whether it follows co-occurrence.",
        ),
        (
            "tracing",
            "Causal tracing",
            "Where a corrupted answer can be brought back, and whether facts and syntax differ in it.",
        ),
        ("editing", "Editing", "What else a model says otherwise when it is made to give another answer."),
    )
]
# The pages in the order of the navigation: the chapters, and one page without a notebook.
PAGES = CHAPTERS + [
    {
        "name": "provenance",
        "title": "Provenance",
        "summary": "What was run, with which settings, on which data, and how long it took.",
    },
]
# Files beside the template that become part of every page.
PAGE_PARTS = [own(f"workflow/report/{name}") for name in ("page.css", "theme.js", "page.js")]

# The files that a chapter's notebook reads are its parameters. Only example edits are optional in a study.
CHAPTER_INPUTS = {
    chapter["name"]: notebook_files(ROOT / f"workflow/notebooks/{chapter['name']}.ipynb") for chapter in CHAPTERS
}
if EXAMPLES:
    CHAPTER_INPUTS["editing"]["example_edits_table"] = "results/tables/editing_examples.csv"

CLAIMS = read_or_stop(read_rules, ROOT / "resources/claims.yaml").claims
NUMBERS = [claim.number for claim in CLAIMS]
JUDGED = sorted({"models"} | {table for claim in CLAIMS for table in claim.reads})
# The tables that are copied beside the report's pages, as the rules write them.
TABLES = {f"results/tables/{table}.csv" for table in JUDGED}
TABLES |= {path for files in CHAPTER_INPUTS.values() for path in files.values() if path.endswith(".csv")}


# Values of the wildcards in the names of this study's benchmark files.
WILDCARDS = {
    "model": list(STUDY.models),
    "editor": list(STUDY.editing.editors),
    "chapter": [chapter["name"] for chapter in CHAPTERS],
}
# Rules without timings of this run when the provenance page is made.
LAST = ["build_provenance", "pack_report"]


rule judge_claims:
    """Judge each claim per model and over models by the rules of resources/claims.yaml; draw the figures."""
    input:
        **{table: f"results/tables/{table}.csv" for table in JUDGED},
        rules=own("resources/claims.yaml"),
        published=own("resources/published.yaml"),
    output:
        **figure("claims", "claims", "all_"),
        **{
            form: path
            for number in NUMBERS
            for form, path in figure(f"claim_{number}", "claims", f"claim_{number}_", "claim").items()
        },
        claims=table("claims", "claims"),
        parts=table("claim_parts", "claims"),
    log:
        "results/logs/judge_claims.log",
    benchmark:
        "results/benchmarks/judge_claims.tsv"
    group:
        "report"
    conda:
        "../../envs/statistics.yaml"
    params:
        code=code("judge_claims"),
        inverses=TASKS.inverses,
        tables=JUDGED,
        families={name: model.family for name, model in STUDY.models.items()},
        together=TASKS.first_of_family,
        numbers=NUMBERS,
    script:
        "../../scripts/judge_claims.py"


rule render_chapter:
    """Run a chapter's notebook on its tables and convert it to a page."""
    input:
        unpack(lambda wildcards: CHAPTER_INPUTS[wildcards.chapter]),
        notebook=own("workflow/notebooks/{chapter}.ipynb"),
        models="results/tables/models.csv",
        template=own("workflow/report/page.html.j2"),
        parts=PAGE_PARTS,
        conversion=[
            own("workflow/report/notebook/conf.json"),
            own("workflow/report/notebook/index.html.j2"),
        ],
    output:
        page="results/report/{chapter}.html",
        notebook="results/report/notebooks/{chapter}.ipynb",
    log:
        "results/logs/render_chapter/{chapter}.log",
    benchmark:
        "results/benchmarks/render_chapter/{chapter}.tsv"
    wildcard_constraints:
        chapter=one_of(chapter["name"] for chapter in CHAPTERS),
    group:
        "report"
    conda:
        "../../envs/report.yaml"
    params:
        code=code("render_chapter"),
        notebook=lambda wildcards: code_hash(ROOT / f"workflow/notebooks/{wildcards.chapter}.ipynb", SCRIPTS, LOCK),
        chapters=PAGES,
        study=STUDY.study,
    script:
        "../../scripts/render_chapter.py"


rule build_report:
    """Write the front page, and copy the tables beside it, so that the folder is complete."""
    input:
        pages=expand(
            "results/report/{chapter}.html",
            chapter=[chapter["name"] for chapter in CHAPTERS],
        ),
        tables=sorted(TABLES),
        figures=[f"results/figures/claim_{number}.svg" for number in NUMBERS],
        template=own("workflow/report/page.html.j2"),
        parts=PAGE_PARTS,
    output:
        index="results/report/index.html",
        tables=directory("results/report/tables"),
    log:
        "results/logs/build_report.log",
    benchmark:
        "results/benchmarks/build_report.tsv"
    group:
        "report"
    conda:
        "../../envs/report.yaml"
    params:
        code=code("build_report"),
        chapters=CHAPTERS,
        numbers=NUMBERS,
        shown=TASKS.first_of_family,
        pages=PAGES,
        study=STUDY.model_dump(mode="json"),
    script:
        "../../scripts/build_report.py"


rule build_provenance:
    """Write the provenance page: settings, seeds, versions, checksums of data and models, and timings of rules."""
    input:
        pages=expand("results/report/{page}.html", page=["index"] + [chapter["name"] for chapter in CHAPTERS]),
        models=expand("results/models/{model}/model.json", model=STUDY.models),
        training=expand("results/models/{model}/training.json", model=TRAINED),
        weights=expand("results/models/{model}/model.safetensors", model=TRAINED),
        texts=sorted({f"results/corpora/{TASKS.corpus_of(model)}/text.txt" for model in TRAINED}),
        manifest=own("resources/corpora.yaml"),
        resources=sorted(
            {own(path) for path in (ROOT / "resources").rglob("[!.]*") if path.is_file()}
            | {
                own(path)
                for task in (TASKS.table.paradigms | TASKS.table.relations).values()
                for path in task.files.values()
            }
            | ({own(EXAMPLES)} if EXAMPLES else set())
        ),
        template=own("workflow/report/page.html.j2"),
        parts=PAGE_PARTS,
    output:
        page="results/report/provenance.html",
        facts="results/provenance.json",
    log:
        "results/logs/build_provenance.log",
    benchmark:
        "results/benchmarks/build_provenance.tsv"
    group:
        "report"
    conda:
        "../../envs/report.yaml"
    params:
        code=code("build_provenance"),
        chapters=PAGES,
        study=STUDY.model_dump(mode="json"),
        fetched=fetched_files(),
        timed=lambda wildcards: timed_rules(workflow.rules, WILDCARDS, batch_wildcards(), without=LAST),
    script:
        "../../scripts/build_provenance.py"


rule pack_report:
    """Pack the pages, the tables and the notebooks into one archive."""
    input:
        pages=expand("results/report/{page}.html", page=["index"] + [page["name"] for page in PAGES]),
        notebooks=expand("results/report/notebooks/{chapter}.ipynb", chapter=[page["name"] for page in CHAPTERS]),
        # A folder has no checksum, and its time is meaningless; the provenance page has its files' checksums.
        tables=ancient("results/report/tables"),
    output:
        archive="results/report.zip",
    log:
        "results/logs/pack_report.log",
    benchmark:
        "results/benchmarks/pack_report.tsv"
    group:
        "report"
    conda:
        "../../envs/report.yaml"
    params:
        code=code("pack_report"),
    script:
        "../../scripts/pack_report.py"
