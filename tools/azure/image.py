"""The image that jobs run: its name taken apart, and its tag turned into the digest that the registry gives."""

import hashlib
import re
from dataclasses import dataclass

import httpx

from tools.azure.client import Azure
from tools.azure.hosts import DOCKER_HUB, registry_of
from tools.azure.trouble import AzureTrouble

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_KINDS = ", ".join((
    "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
))


@dataclass(frozen=True, slots=True)
class Image:
    """An image's name in its parts."""

    registry: str
    name: str
    tag: str = ""
    digest: str = ""

    def pinned(self, digest: str) -> str:
        """As a job names it."""
        return f"{self.registry}/{self.name}@{digest}"


def read_image(text: str) -> Image:
    """The parts of `[HOST/]NAME[:TAG][@sha256:…]`. Raises AzureTrouble `not_prepared`."""
    rest, _, digest = text.strip().partition("@")
    registry = registry_of(rest)
    first, slash, after = rest.partition("/")
    path = after if slash and first.lower() == registry else rest
    name, colon, tag = path.partition(":")
    if registry == DOCKER_HUB and "/" not in name:
        name = f"library/{name}"
    if not _NAME.fullmatch(name) or (colon and not _TAG.fullmatch(tag)) or (digest and not DIGEST.fullmatch(digest)):
        raise _refused(text, "it is no name of an image.", "Write LUTHIER_AZURE_IMAGE as HOST/NAME:TAG or HOST/NAME@sha256:….")
    return Image(registry, name, tag or ("" if digest else "latest"), digest)


def resolve_image(azure: Azure, text: str) -> str:
    """`HOST/NAME@sha256:…` for an image named by tag; one named by digest is as it is.

    Asks the image's registry, without a sign-in. Raises AzureTrouble `not_prepared` when the digest cannot be found out: it is never
    made up.
    """
    image = read_image(text)
    if image.digest:
        return image.pinned(image.digest)
    return image.pinned(azure.call(f"The digest of {text} was not found out", lambda: _digest(azure, image, text)))


def _digest(azure: Azure, image: Image, text: str) -> str:
    base = f"{azure.choice.endpoint}/registry" if azure.choice.endpoint else f"https://{_host(image.registry)}"
    url = azure.check_host(f"{base}/v2/{image.name}/manifests/{image.tag}", "registry")
    with azure.http() as http:
        # A HEAD does not count against the limit that Docker Hub sets on pulls.
        headers = {"Accept": _KINDS}
        answer = http.head(url, headers=headers)
        if answer.status_code == 401:
            headers |= _signed(_token(azure, http, answer.headers.get("www-authenticate", "")))
            answer = http.head(url, headers=headers)
        if answer.status_code == 200 and "docker-content-digest" not in answer.headers:
            answer = http.get(url, headers=headers)
    if answer.status_code in (401, 403):
        raise _refused(text, "its registry does not show it without a sign-in.",
                       "Name it by digest: LUTHIER_AZURE_IMAGE=HOST/NAME@sha256:…, as `docker buildx imagetools inspect` prints it.")
    if answer.status_code == 404:
        raise _refused(text, "its registry knows no such image or tag.", "Correct LUTHIER_AZURE_IMAGE.")
    answer.raise_for_status()
    found = answer.headers.get("docker-content-digest") or f"sha256:{hashlib.sha256(answer.content).hexdigest()}"
    if answer.status_code != 200 or not DIGEST.fullmatch(found):
        raise _refused(text, "its registry's answer is not one about an image.", "Name it by digest in LUTHIER_AZURE_IMAGE.")
    return found


def _signed(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _token(azure: Azure, http: httpx.Client, challenge: str) -> str:
    """A token for anybody, from where the registry says; empty when there is none to be had."""
    asked = dict(_CHALLENGE.findall(challenge)) if challenge.lower().startswith("bearer ") else {}
    if "realm" not in asked:
        return ""
    url = azure.check_host(asked["realm"], "registry")
    answer = http.get(url, params={key: asked[key] for key in ("service", "scope") if key in asked})
    if answer.status_code != 200:
        return ""
    body = answer.json()
    token = body.get("token") or body.get("access_token") if isinstance(body, dict) else ""
    return token if isinstance(token, str) else ""


def _host(registry: str) -> str:
    return "registry-1.docker.io" if registry == DOCKER_HUB else registry


def _refused(text: str, because: str, then: str) -> AzureTrouble:
    return AzureTrouble("not_prepared", f"The image {text} cannot be used", because, then)
