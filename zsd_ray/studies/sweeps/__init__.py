"""Models x data sets x methods: many runs, and one table."""
