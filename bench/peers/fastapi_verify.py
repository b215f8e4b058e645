"""The service that nginx asks: is this token good, and whose is it? Started with uvicorn."""

import os
from pathlib import Path

import jwt
from fastapi import FastAPI, Request, Response

app = FastAPI()
KEY = Path(os.environ["BENCH_PEM"]).read_text(encoding="utf-8")
ISSUER = os.environ["BENCH_ISSUER"]


@app.get("/verify")
async def verify(request: Request) -> Response:
    bearer = request.headers.get("authorization", "")
    token = bearer[7:] if bearer[:7].lower() == "bearer " else request.cookies.get("DS", "")
    try:
        claims = jwt.decode(token, KEY, algorithms=["RS256"], issuer=ISSUER, options={"require": ["exp"]})
    except jwt.InvalidTokenError:
        return Response(status_code=401)
    return Response(headers={"x-user": claims["sub"]})
