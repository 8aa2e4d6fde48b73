"""Tasks of the frozen towers: text features, image features and decoded pixels, cached as files."""

from tasks.job_groups import group_task

cache_text_features = group_task("cache text features")
cache_image_features = group_task("cache image features")
cache_pixels = group_task("cache pixels")
