"""The comparison of the gateway with other gateways: `make bench`. what is measured, README.md says."""
