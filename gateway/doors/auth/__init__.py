"""The endpoints under `/.auth/`: one module for each sign-in method, and what they share."""
