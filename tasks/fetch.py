"""Task of the stages fetch and index: a dataset's files, and the table of its images."""

from tasks.job_groups import group_task

# No retries here: `datasets/download.py` tries an address again, with back-off, after faults of the network, and
# nothing else that fails (a licence, a full disk, a wrong checksum) gets better by being tried again.
fetch = group_task("fetch")
index = group_task("index")
