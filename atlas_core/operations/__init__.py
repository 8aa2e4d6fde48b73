"""Looking after an installation and its store: doctor, garbage, verification."""
