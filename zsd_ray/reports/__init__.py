"""What people look at: figures and the HTML report, from saved rows only."""
