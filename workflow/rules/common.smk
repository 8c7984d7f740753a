"""Shared by all rules: the checked configuration, the code hash of a script, and constraints of wildcards."""

import os
import re
import sys
from pathlib import Path

ROOT = Path(workflow.basedir).parent
SCRIPTS = ROOT / "scripts"
LOCK = ROOT / "envs/requirements.txt"
sys.path.insert(0, str(SCRIPTS))

from kn_thesis.code_hash import code_hash
from kn_thesis.configuration.study import PARTS_OF, STEPS, entries, read_study
from kn_thesis.errors import UserError
from kn_thesis.files import check_disk_space
from kn_thesis.inputs import without_login
from kn_thesis.joblog import SNAKEMAKE, begin_run, remove_stale_lock

# Sums depend on the number of threads, so every job has one unless its rule says otherwise.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"


def or_stop(action, *arguments, before="error: "):
    """Return the result of `action`; after a user's mistake print `before` and the message, and end the run."""
    try:
        return action(*arguments)
    except UserError as error:
        print(f"{before}{error}", file=sys.stderr)
        sys.exit(1)


def read_or_stop(read, *arguments):
    """Do the same for files that users write."""
    return or_stop(read, *arguments, before="The configuration cannot be used.\n")


# Snakemake does not report a full disk clearly, and takes the lock of a killed run for that of a running one.
if workflow.is_main_process:
    or_stop(check_disk_space, SNAKEMAKE)
    if removed := remove_stale_lock(SNAKEMAKE):
        print(removed, file=sys.stderr)


onstart:
    if workflow.is_main_process and workflow.execution_settings.lock:
        or_stop(begin_run, SNAKEMAKE, workflow.local_exec)


# The study and its tasks. This changes `config` in place by the values of --config.
TASKS = read_or_stop(read_study, ROOT, config, workflow.configfiles, workflow.config_settings.config or {})
STUDY = TASKS.study
EXAMPLES = STUDY.editing.examples
TRAINED = TASKS.trained
if workflow.is_main_process:  # jobs report what they miss themselves
    read_or_stop(TASKS.check_own_files)
read_or_stop(lambda: TASKS.examples)

# The mirror, retries and timeout do not change the content of files, so they are not parameters of rules.
MIRROR = os.getenv("KN_MIRROR") or STUDY.corpora.mirror or ""
if STUDY.corpora.mirror:
    # Parameters and the configuration are stored with results; the mirror's login must not be.
    STUDY.corpora.mirror = config["corpora"]["mirror"] = without_login(STUDY.corpora.mirror)
if MIRROR and "://" not in MIRROR:
    # A folder is relative to the shell's working directory, which `--directory` leaves.
    MIRROR = str(Path(os.getenv("PWD", ROOT), MIRROR).resolve())
os.environ.update(KN_MIRROR=MIRROR, KN_RETRIES=str(STUDY.corpora.retries), KN_TIMEOUT=str(STUDY.corpora.timeout))


wildcard_constraints:
    model="[^/]+",
    task="[^/.]+",
    batch="[^/.]+",
    variant="[^/]+",


def own(path):
    """Return the path of a file of this repository, relative to the folder that the study runs in."""
    return os.path.relpath(ROOT / path)


def one_of(names):
    """Return a wildcard's constraint: one of `names`; without names it matches nothing."""
    return "|".join(map(re.escape, names)) or "(?!)"


def code(script):
    """Return a rule's parameter that hashes its script, the modules it imports, and their packages' locked versions.

    It is a function, so that only rules with jobs are hashed: every job on a cluster parses the workflow again.
    """
    return lambda wildcards: code_hash(SCRIPTS / f"{script}.py", SCRIPTS, LOCK)
