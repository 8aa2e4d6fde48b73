"""Task of the trainings."""

from tasks.job_groups import group_task

tune = group_task("tune")
