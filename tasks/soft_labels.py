"""Tasks of the offline soft labels: class-wise (CSL) and instance-wise (ISL)."""

from tasks.job_groups import group_task

class_soft_labels = group_task("class-wise soft labels")
instance_soft_labels = group_task("instance-wise soft labels")
