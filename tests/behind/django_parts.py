"""What the Django site consists of; Django imports it itself, once it is set up."""

import json
from typing import Any

from django.contrib.auth.middleware import RemoteUserMiddleware
from django.http import HttpRequest, HttpResponse
from django.urls import path


class FromHeader(RemoteUserMiddleware):  # type: ignore[misc]  # Django has no types
    header = "HTTP_REMOTE_USER"


def who(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    said = {"user": user.username, "groups": request.headers.get("Remote-Groups", "")}
    return HttpResponse(json.dumps(said), content_type="application/json")


urlpatterns = [path("who", who), path("optional/who", who), path("public/who", who)]
