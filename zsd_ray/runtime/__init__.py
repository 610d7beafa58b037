"""The Ray shell: driver, scheduler, model workers and sink; only this package imports ray."""
