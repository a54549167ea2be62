"""The address that gives tokens, as a machine of Azure has one: plain http on loopback, a header as its only secret."""

import base64
import json
import time
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.azure.world import World

HEADER = "only-for-the-stand-in"


def token(world: World, audience: str, life_s: float | None = None) -> str:
    """An unsigned token with the claims that the product reads."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "aud": audience, "iss": f"https://sts.example/{world.tenant}/", "iat": now, "nbf": now,
        "exp": now + (world.token_s if life_s is None else life_s), "tid": world.tenant, "oid": "6f1c1bd0-0000-4000-8000-00000000000c",
        "upn": world.user,
    }
    parts = [base64.urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in ({"alg": "none", "typ": "JWT"}, claims)]
    return ".".join([*parts, "unsigned"])


def identity_app(world: World) -> Starlette:
    """`GET /msi/token?resource=…`, in the form of App Service."""
    def give(request: Request) -> JSONResponse:
        if request.headers.get("x-identity-header") != HEADER or not world.signed_in:
            return JSONResponse({"error": "invalid_request", "error_description": "no identity"}, 400)
        audience = request.query_params.get("resource", "")
        return JSONResponse({"access_token": token(world, audience), "expires_on": str(int(time.time() + world.token_s)),
                             "resource": audience, "token_type": "Bearer", "client_id": "6f1c1bd0-0000-4000-8000-00000000000d"})

    return Starlette(routes=[Route("/msi/token", give)])
