"""The Ray shell: driver, scheduler, model workers and sink; only here is ray named."""
