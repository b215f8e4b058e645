"""The ways in which a request reaches the judge: requests become facts here, decisions become answers."""
