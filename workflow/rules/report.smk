"""The report: one papermill notebook per chapter, a first page, a page on provenance, and all of it in one archive."""

from kn_thesis.report.claims.rules import read_rules
from kn_thesis.report.timed import timed_rules

CHAPTERS = [
    {
        "name": "corpora",
        "title": "Corpora",
        "summary": "What the models are asked, what was kept of it, and why the rest was not.",
    },
    {
        "name": "models",
        "title": "Models",
        "summary": "Which models take part, and what each of them has learned.",
    },
    {
        "name": "localization",
        "title": "Localization",
        "summary": "Which MLP neurons carry determiner-noun agreement, and which carry facts.",
    },
    {
        "name": "suppression",
        "title": "Suppression",
        "summary": "What happens to words when these neurons are taken away, and whether it follows the words' company.",
    },
    {
        "name": "tracing",
        "title": "Causal tracing",
        "summary": "Where a corrupted answer can be brought back, and whether facts and syntax differ in it.",
    },
    {
        "name": "editing",
        "title": "Editing",
        "summary": "What else a model says otherwise when it is made to give another answer.",
    },
]

# What stands beside the template and becomes part of every page.
PAGE_PARTS = [own(f"workflow/report/{name}") for name in ("page.css", "theme.js", "page.js")]
# The pages in the order of the navigation: the chapters', and one that no notebook makes.
PAGES = CHAPTERS + [
    {
        "name": "provenance",
        "title": "Provenance",
        "summary": "What was run, with which settings, on which data, and how long it took.",
    },
]

# What a chapter's notebook reads: each name is one of its parameters.
CHAPTER_INPUTS = {
    "corpora": {
        "corpora_table": "results/tables/corpora.csv",
        "corpora_figure": "results/figures/corpora.svg",
        "examples_table": "results/tables/examples.csv",
    },
    "models": {
        "models_table": "results/tables/models.csv",
        "models_figure": "results/figures/models.svg",
    },
    "localization": {
        "localization_table": "results/tables/localization.csv",
        "layers_table": "results/tables/layers.csv",
        "determiners_figure": "results/figures/determiner_neurons.svg",
        "layers_figure": "results/figures/neurons_per_layer.svg",
        "tasks_figure": "results/figures/localization_by_task.svg",
    },
    "suppression": {
        "suppression_table": "results/tables/suppression.csv",
        "significance_table": "results/tables/significance.csv",
        "accuracy_table": "results/tables/accuracy.csv",
        "company_table": "results/tables/company.csv",
        "variants_table": "results/tables/variants.csv",
        "variant_effects_table": "results/tables/variant_effects.csv",
        "words_figure": "results/figures/suppression_words.svg",
        "company_figure": "results/figures/suppression_company.svg",
        "accuracy_figure": "results/figures/suppression_accuracy.svg",
        "variants_figure": "results/figures/suppression_variants.svg",
    },
    "tracing": {
        "tracing_table": "results/tables/tracing.csv",
        "roles_table": "results/tables/tracing_roles.csv",
        "comparison_table": "results/tables/tracing_comparison.csv",
        "skipped_table": "results/tables/tracing_skipped.csv",
        "examples_table": "results/tables/tracing_examples.csv",
        "examples_figure": "results/figures/tracing_examples.svg",
        "roles_figure": "results/figures/tracing_roles.svg",
        "lines_figure": "results/figures/tracing_lines.svg",
        "sites_figure": "results/figures/tracing_sites.svg",
    },
    "editing": {
        "editing_table": "results/tables/editing.csv",
        "tests_table": "results/tables/editing_tests.csv",
        "skipped_table": "results/tables/editing_skipped.csv",
        "fluency_table": "results/tables/editing_fluency.csv",
        "layers_table": "results/tables/editing_layers.csv",
        "localization_table": "results/tables/editing_localization.csv",
        "directions_table": "results/tables/editing_directions.csv",
        "completions_table": "results/tables/editing_completions.csv",
        "criteria_figure": "results/figures/editing_criteria.svg",
        "agreement_figure": "results/figures/editing_agreement.svg",
        "layers_figure": "results/figures/editing_layers.svg",
        "directions_figure": "results/figures/editing_directions.svg",
    },
}

CLAIM_TABLES = {
    "claims_table": "results/tables/claims.csv",
    "claim_parts_table": "results/tables/claim_parts.csv",
}
for chapter in ("localization", "suppression", "tracing", "editing"):
    CHAPTER_INPUTS[chapter] |= CLAIM_TABLES
if EXAMPLES:
    # Without it the chapter has no such section.
    CHAPTER_INPUTS["editing"]["example_edits_table"] = "results/tables/editing_examples.csv"

CLAIMS = read_or_stop(read_rules, ROOT / "resources/claims.yaml").claims
JUDGED = sorted({"models"} | {table for claim in CLAIMS for table in claim.reads})
NUMBERS = [claim.number for claim in CLAIMS]

# The tables that lie beside the report's pages, each in the form in which rules write it.
TABLES = ["claims", "claim_parts", "corpora", "examples", "models"]
TABLES += ["localization", "layers", "layers_by_task", "number_neurons"]
TABLES += ["suppression", "significance", "accuracy", "company", "variants", "variant_effects"]
TABLES += ["tracing"] + [f"tracing_{name}" for name in ("roles", "comparison", "skipped", "examples")]
TABLES += ["editing"] + [f"editing_{name}" for name in ("tests", "skipped", "fluency", "layers", "localization")]
TABLES += ["editing_directions", "editing_completions"] + (["editing_examples"] if EXAMPLES else [])


# What wildcards stand for in the names of this study's benchmark files.
WILDCARDS = {
    "model": list(STUDY.models),
    "editor": list(STUDY.editing.editors),
    "chapter": [chapter["name"] for chapter in CHAPTERS],
}
# Rules whose timings are not there yet when the page of provenance is made, or are those of another run.
LAST = ["build_provenance", "pack_report"]


rule judge_claims:
    """The verdict on each claim, per model and over models, by a rule that was fixed before the run; figures."""
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
        tables=JUDGED,
        families={name: model.family for name, model in STUDY.models.items()},
        together=FIRST_OF_FAMILY,
        numbers=NUMBERS,
    script:
        "../../scripts/judge_claims.py"


rule render_chapter:
    """Run a chapter's notebook on its tables and make a page of it."""
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
    """The first page; the tables beside it, so that the folder can be sent to somebody."""
    input:
        pages=expand(
            "results/report/{chapter}.html",
            chapter=[chapter["name"] for chapter in CHAPTERS],
        ),
        tables=[f"results/tables/{table}.csv" for table in TABLES],
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
        shown=FIRST_OF_FAMILY,
        pages=PAGES,
        study=STUDY.model_dump(mode="json"),
    script:
        "../../scripts/build_report.py"


rule build_provenance:
    """What was run: settings, seeds, versions, sums of data and models, and what each rule took."""
    input:
        pages=expand("results/report/{page}.html", page=["index"] + [chapter["name"] for chapter in CHAPTERS]),
        models=expand("results/models/{model}/model.json", model=STUDY.models),
        training=expand("results/models/{model}/training.json", model=TRAINED),
        weights=expand("results/models/{model}/model.safetensors", model=TRAINED),
        texts=sorted({f"results/corpora/{corpus_of(model)}/text.txt" for model in TRAINED}),
        manifest=own("resources/corpora.yaml"),
        resources=sorted(
            {own(path) for path in (ROOT / "resources").rglob("[!.]*") if path.is_file()}
            | {own(path) for task in (TASKS.paradigms | TASKS.relations).values() for path in task.files.values()}
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
        timed=lambda wildcards: timed_rules(workflow.rules, WILDCARDS, without=LAST),
    script:
        "../../scripts/build_provenance.py"


rule pack_report:
    """The pages, the tables beside them and the notebooks in one file that opens anywhere."""
    input:
        pages=expand("results/report/{page}.html", page=["index"] + [page["name"] for page in PAGES]),
        notebooks=expand("results/report/notebooks/{chapter}.ipynb", chapter=[page["name"] for page in CHAPTERS]),
        # A folder has no checksum, and its time says nothing; the sums of what lies in it are on the page of provenance.
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
