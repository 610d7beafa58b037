"""One evaluation from its plan to its report: stages, session, and the loop in one process."""
