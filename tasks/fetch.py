"""Task of the stages fetch and index: a dataset's files, and the table of its images."""

from tasks.job_groups import group_task

# Only what comes over a network may fail for a while and then work.
fetch = group_task("fetch", retries=2, retry_delay_seconds=[5, 30])
index = group_task("index")
