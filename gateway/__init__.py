"""An authenticating reverse proxy: Descope sessions in front of services that know nothing about sign-in."""

__version__ = "0.1.0"
