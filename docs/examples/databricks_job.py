"""Runs patrol in a Databricks job. See databricks-job.yml."""

import os
import shutil
import subprocess
import sys
import tempfile

from databricks.sdk import WorkspaceClient

volume = sys.argv[1]
work = tempfile.mkdtemp()

# A volume cannot hold a running program, nor a database that is being written.
binary = shutil.copy(f"{volume}/patrol", work)
os.chmod(binary, 0o700)
database = f"{work}/patrol.db"
if os.path.exists(f"{volume}/patrol.db"):
    shutil.copy(f"{volume}/patrol.db", database)

# The job's own identity: a short-lived token that ends with the run.
config = WorkspaceClient().config
token = config.authenticate()["Authorization"].removeprefix("Bearer ")
environment = {"PATH": os.defpath, "HOME": work, "DATABRICKS_HOST": config.host, "DATABRICKS_TOKEN": token}
arguments = ["audit", "--db", database, "--output-dir", f"{work}/report", "--format", "csv,xlsx,json", "--fail-on", "high"]
code = subprocess.run([binary, *arguments], cwd=work, env=environment).returncode

if os.path.exists(database):
    shutil.copy(database, f"{volume}/patrol.db")
if os.path.isdir(f"{work}/report"):
    shutil.copytree(f"{work}/report", f"{volume}/report", dirs_exist_ok=True)
if code not in (0, 1):  # findings are in the report; anything else fails the job
    sys.exit(code)
