"""What was understood of a study before it runs: its datasets, prompts and backbone, and what is odd about them."""
