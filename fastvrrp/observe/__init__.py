"""Looking at routers from outside, without making them wait."""
