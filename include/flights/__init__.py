"""Flights out of New York in 2013: a team's package, with the source database of its demo."""
