"""What is not needed to evaluate a model. The core never imports a study, and no study another."""
