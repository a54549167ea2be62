"""The image registry of the stand-in: a tag's digest behind the token handshake that public registries ask for."""

import hashlib
import re

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.azure.world import World

TOKEN = "registry-token-of-the-stand-in"


def fake_digest(image: str) -> str:
    """Obviously made up, and always the same for an image."""
    return "sha256:" + ("fa4e" * 4 + hashlib.sha256(image.encode()).hexdigest())[:64]


def registry_app(world: World) -> Starlette:
    """`/v2/NAME/manifests/TAG` and `/token`."""
    def give_token(_: Request) -> JSONResponse:
        return JSONResponse({"token": TOKEN, "access_token": TOKEN, "expires_in": 300})

    def manifest(request: Request) -> Response:
        name, tag = request.path_params["name"], request.path_params["tag"]
        world.note("registry", request.method, request.url.path)
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            realm = f'Bearer realm="{world.addresses["arm"]}/registry/token",service="registry.stand-in",scope="repository:{name}:pull"'
            return JSONResponse({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}, 401,
                                {"www-authenticate": realm})
        digest = tag if re.fullmatch(r"sha256:[0-9a-f]{64}", tag) else world.images.get(f"{name}:{tag}", fake_digest(f"{name}:{tag}"))
        if not digest:
            return JSONResponse({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}, 404)
        return Response(b"{}", 200, {"docker-content-digest": digest}, "application/vnd.oci.image.index.v1+json")

    return Starlette(routes=[
        Route("/token", give_token),
        Route("/v2/{name:path}/manifests/{tag}", manifest, methods=["GET", "HEAD"]),
        Route("/v2/", lambda _: JSONResponse({})),
    ])
