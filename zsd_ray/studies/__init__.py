"""Optional studies on top of the evaluation of a model. The core imports no study, and no study
another."""
