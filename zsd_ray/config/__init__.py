"""The configuration sections of a run and of a training; a study has its own."""
