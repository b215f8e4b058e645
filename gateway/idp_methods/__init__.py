"""The requests of the sign-in methods, one module for each method; values only, `idp` sends them."""
