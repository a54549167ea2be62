"""The Files stand-in: the part of Azure's REST interface that shares need, over a real folder, by account key or by token."""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.azure.faults import Fault, Scripted
from tests.azure.files_store import Refused, Store, etag_of
from tests.azure.world import World

SIGNED = ("content-encoding", "content-language", "content-length", "content-md5", "content-type", "date", "if-modified-since", "if-match",
          "if-none-match", "if-unmodified-since", "byte_range")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: what it asks for, below the share's name."""

    method: str
    name: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def comp(self) -> str:
        """The part of a resource that is meant."""
        return self.query.get("comp", "")

    @property
    def metadata(self) -> dict[str, str]:
        """What the request says of a file beside its bytes."""
        return {key.removeprefix("x-ms-meta-"): value for key, value in self.headers.items() if key.startswith("x-ms-meta-")}


def files_of(world: World) -> Store:
    """The share of a stand-in: tests set its quota and plant names."""
    if "files" not in world.parts:
        world.parts["files"] = Store(world.share_root)
    return world.parts["files"]


def files_app(world: World) -> ASGIApp:
    """Serves the share `luthier` of every account."""
    store = files_of(world)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        path, query = scope["path"], dict(parse_qsl(request.url.query, keep_blank_values=True))
        headers = {key.lower(): value for key, value in request.headers.items()}
        try:
            body = await request.body()
        except ClientDisconnect:
            return
        world.note("files", request.method, path, request.url.query)
        fault = world.faults.take(request.method, f"files:{path}" + (f"?{request.url.query}" if request.url.query else ""))
        try:
            if fault is not None:
                _before(world, fault)
            _check(world, request, headers, query)
            share, _, name = path.lstrip("/").partition("/")
            if share != "luthier" or not world.has_share(_account(headers) or _only_account(world), share):
                raise Refused(404, "ShareNotFound", "The specified share does not exist.")
            answer = _answer(store, Asked(request.method, name, query, headers, body))
        except Refused as refused:
            answer = _error(refused, request.method)
        answer.headers.update({"x-ms-version": "2026-02-06", "x-ms-request-id": f"files-{len(world.sent)}",
                               "date": format_datetime(world.now().astimezone(UTC), usegmt=True)})
        if fault is not None and fault.fault is Fault.ACCEPTED_503:
            answer = _error(Refused(503, "ServerBusy", "The server is busy."), request.method)
        if fault is not None and fault.fault in (Fault.TORN_BODY, Fault.DROP):
            # A body shorter than announced: the server cuts the connection.
            answer.headers["content-length"] = str(len(answer.body) + 1)
        await answer(scope, receive, send)

    return serve


def _before(world: World, fault: Scripted) -> None:
    match fault.fault:
        case Fault.REFUSED_503:
            raise Refused(503, "ServerBusy", "The server is busy.")
        case Fault.THROTTLED:
            raise Refused(429, "TooManyRequests", "Too many requests.")
        case Fault.DENIED:
            raise Refused(403, "AuthorizationPermissionMismatch", "This request is not authorized for this operation by this permission.")
        case Fault.UNAUTHORIZED:
            raise Refused(401, "InvalidAuthenticationInfo", "Authentication information is not given in the correct format.")
        case Fault.ANSWER:
            options = fault.options
            code, said = str(options.get("code", "InternalError")), str(options.get("message", "As scripted."))
            raise Refused(int(options.get("status", 500)), code, said)
        case Fault.CALL:
            fault.options["call"](world)
        case _:
            pass


def _account(headers: dict[str, str]) -> str:
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    return rest.partition(":")[0] if scheme == "SharedKey" else ""


def _only_account(world: World) -> str:
    return next((str(each["name"]) for each in world.of_type("Microsoft.Storage/storageAccounts")), "")


def _check(world: World, request: Request, headers: dict[str, str], query: dict[str, str]) -> None:
    """By key: the signature must be right. By token: the audience and the intent."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    refused = Refused(403, "AuthenticationFailed", "Server failed to authenticate the request.")
    if scheme == "Bearer":
        if headers.get("x-ms-file-request-intent") != "backup":
            raise Refused(400, "MissingRequiredHeader", "An HTTP header that's mandatory for this request is not specified.")
        claims = rest.split(".")[1] if rest.count(".") == 2 else ""
        if b"storage.azure.com" not in base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)):
            raise refused
        return
    account, _, given = rest.partition(":")
    signs = {**headers, "content-length": headers.get("content-length", "").replace("0", "", 1) if headers.get("content-length") == "0"
             else headers.get("content-length", "")}
    text = request.method + "\n" + "".join(signs.get(each, "") + "\n" for each in SIGNED)
    text += "".join(f"{key}:{headers[key]}\n" for key in sorted(each for each in headers if each.startswith("x-ms-")))
    text += f"/{account}{request.scope['raw_path'].decode().partition('?')[0]}"
    text += "".join(f"\n{key.lower()}:{query[key]}" for key in sorted(query))
    keys = world.account_keys(account)
    good = any(hmac.compare_digest(given, base64.b64encode(hmac.digest(base64.b64decode(key), text.encode(), hashlib.sha256)).decode())
               for key in keys)
    if scheme != "SharedKey" or not good:
        raise refused


def _answer(store: Store, asked: Asked) -> Response:
    if asked.query.get("restype") == "directory":
        return _folder(store, asked)
    if asked.query.get("restype") == "share":
        return Response(status_code=200 if asked.method in ("GET", "HEAD") else 201, headers={"etag": '"0x1"', "x-ms-share-quota": "5120"})
    match asked.method, asked.comp:
        case "PUT", "":
            path = store.create(asked.name, int(asked.headers["x-ms-content-length"]), asked.metadata)
            return Response(status_code=201, headers=_facts(store, path))
        case "PUT", "range":
            return _write(store, asked)
        case "PUT", "rename":
            source = unquote(urlsplit(asked.headers["x-ms-file-rename-source"]).path).lstrip("/").partition("/")[2]
            path = store.rename(source, asked.name, asked.headers.get("x-ms-file-rename-replace-if-exists") == "true")
            return Response(status_code=200, headers=_facts(store, path))
        case "PUT", "metadata":
            path = store.file(asked.name)
            store.metadata[store.key(path)] = asked.metadata
            return Response(status_code=200, headers=_facts(store, path))
        case "GET", "rangelist":
            path = store.file(asked.name)
            lines = "".join(f"<Range><Start>{begin}</Start><End>{end - 1}</End></Range>" for begin, end in store.written(path))
            return _xml(f"<Ranges>{lines}</Ranges>", {**_facts(store, path), "x-ms-content-length": str(path.stat().st_size)})
        case "HEAD", "":
            path = store.file(asked.name)
            size = str(path.stat().st_size)
            return Response(status_code=200, headers={**_facts(store, path), "content-length": size, "x-ms-type": "File",
                                                      "accept-ranges": "bytes", **_meta(store, path)})
        case "GET", "":
            return _read(store, asked)
        case "DELETE", "":
            store.drop(asked.name)
            return Response(status_code=202)
        case _:
            raise Refused(400, "InvalidQueryParameterValue", f"{asked.method} {asked.comp} is not part of this stand-in.")


def _folder(store: Store, asked: Asked) -> Response:
    match asked.method, asked.comp:
        case "PUT", "":
            store.make_folder(asked.name)
            return Response(status_code=201, headers=_facts(store, store.folder(asked.name)))
        case "DELETE", "":
            store.drop_folder(asked.name)
            return Response(status_code=202)
        case ("GET" | "HEAD"), "":
            return Response(status_code=200, headers=_facts(store, store.folder(asked.name)))
        case "GET", "list":
            return _list(store, asked)
        case _:
            raise Refused(400, "InvalidQueryParameterValue", f"{asked.method} {asked.comp} of a folder is not part of this stand-in.")


def _write(store: Store, asked: Asked) -> Response:
    begin = int(asked.headers["x-ms-range"].removeprefix("bytes=").partition("-")[0])
    wanted = asked.headers.get("content-md5")
    if wanted and base64.b64encode(hashlib.md5(asked.body, usedforsecurity=False).digest()).decode() != wanted:
        raise Refused(400, "Md5Mismatch", "The MD5 value specified in the request did not match the MD5 value calculated by the server.")
    path = store.write(asked.name, begin, asked.body)
    return Response(status_code=201, headers=_facts(store, path))


def _read(store: Store, asked: Asked) -> Response:
    path = store.file(asked.name)
    state, wanted = path.stat(), asked.headers.get("x-ms-range") or asked.headers.get("range")
    headers = {**_facts(store, path), "x-ms-type": "File", "accept-ranges": "bytes", **_meta(store, path)}
    begin, end = 0, state.st_size - 1
    if wanted:
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        begin, end = int(first), min(int(last) if last else state.st_size - 1, state.st_size - 1)
        if begin >= state.st_size:
            raise Refused(416, "InvalidRange", "The range specified is invalid for the current size of the resource.")
        headers["content-range"] = f"bytes {begin}-{end}/{state.st_size}"
    with path.open("rb") as file:
        file.seek(begin)
        data = file.read(end - begin + 1)
    if asked.headers.get("x-ms-range-get-content-md5") == "true":
        headers["content-md5"] = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    return Response(data, status_code=206 if wanted else 200, headers=headers, media_type="application/octet-stream")


def _list(store: Store, asked: Asked) -> Response:
    found, most = list(store.entries(asked.name)), min(int(asked.query.get("maxresults", store.page)), store.page)
    start = int(asked.query.get("marker") or 0)
    lines = []
    for each in found[start:start + most]:
        about = f"<Content-Length>{each.size}</Content-Length>" if not each.is_dir else ""
        when = datetime.fromtimestamp(each.modified_s, UTC)
        about += (f"<LastWriteTime>{when:%Y-%m-%dT%H:%M:%S.%f}0Z</LastWriteTime><Last-Modified>{format_datetime(when, usegmt=True)}"
                  f"</Last-Modified><Etag>{escape(each.etag)}</Etag>")
        kind = "Directory" if each.is_dir else "File"
        lines.append(f"<{kind}><Name>{escape(each.name)}</Name><Properties>{about}</Properties></{kind}>")
    after = str(start + most) if start + most < len(found) else ""
    share = escape(asked.name, {'"': "&quot;"})
    return _xml(f'<EnumerationResults ServiceEndpoint="https://127.0.0.1/" ShareName="luthier" DirectoryPath="{share}">'
                f"<MaxResults>{most}</MaxResults><Entries>{''.join(lines)}</Entries><NextMarker>{after}</NextMarker>"
                "</EnumerationResults>", {})


def _facts(store: Store, path: Path) -> dict[str, str]:
    state = path.stat()
    when = datetime.fromtimestamp(state.st_mtime, UTC)
    return {"etag": etag_of(state), "last-modified": format_datetime(when, usegmt=True), "x-ms-request-server-encrypted": "true",
            "x-ms-file-last-write-time": f"{when:%Y-%m-%dT%H:%M:%S.%f}0Z"}


def _meta(store: Store, path: Path) -> dict[str, str]:
    return {f"x-ms-meta-{key}": value for key, value in store.metadata.get(store.key(path), {}).items()}


def _xml(text: str, headers: dict[str, Any]) -> Response:
    return Response(f'<?xml version="1.0" encoding="utf-8"?>{text}', headers=headers, media_type="application/xml")


def _error(refused: Refused, method: str) -> Response:
    text = f"<Error><Code>{escape(refused.code)}</Code><Message>{escape(refused.message or refused.code)}</Message></Error>"
    body = "" if method == "HEAD" else f'<?xml version="1.0" encoding="utf-8"?>{text}'
    return Response(body, status_code=refused.status, headers={"x-ms-error-code": refused.code}, media_type="application/xml")
