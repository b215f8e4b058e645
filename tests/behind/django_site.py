"""A Django site that believes `Remote-User`, as its documentation says how."""

from pathlib import Path

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command

_PARTS = "tests.behind.django_parts"


def site(folder: Path) -> WSGIHandler:
    """The site, with a database in `folder`. Django can be set up once in a process."""
    settings.configure(
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=_PARTS,
        SECRET_KEY="nothing here is secret",
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "site.sqlite3")}},
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            f"{_PARTS}.FromHeader",
        ],
        AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.RemoteUserBackend"],
        USE_TZ=True,
        LOGGING_CONFIG=None,
    )
    django.setup()
    call_command("migrate", verbosity=0)
    return WSGIHandler()
