"""Why a deployment gave no answer, by what a client of it saw: a sentence, and what to do."""

import json
import ssl

import httpx

from policies.tool import ToolFailed
from tools.serve.children import engine_said

ASK = "Ask the deployment"
_SAID: dict[int, tuple[str, str, str]] = {
    401: ("It does not take this home's key.",
          "Its key's file was changed, or another program answers there: redeploy sends the key again.", "denied"),
    403: ("It does not let this machine's public address in.",
          "The address may have changed: redeploy with allow_ips naming it; list_deployments says which are allowed now.", "denied"),
    404: ("Nothing answers at its address.", "It may have been stopped in Azure: list_deployments says so, redeploy starts it again.",
          "not_running"),
    410: ("Its time is over.", "Deploy its model again with redeploy, which asks for a yes of its own.", "no_ceiling"),
    429: ("It has as many questions as it takes at once.", "Ask again in a moment.", "busy"),
    503: ("It is closing or not up yet.", "Ask again in a moment.", "busy"),
}


def refused(status: int, text: str = "") -> ToolFailed:
    """An answer that is none; what the program said of it is for people alone."""
    try:
        message = str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = ""
    if status in _SAID:
        because, remedy, kind = _SAID[status]
        return ToolFailed(ASK, because, remedy, kind=kind, heard=message[:500])
    if 300 <= status < 400:
        return ToolFailed(ASK, f"It sent us elsewhere (status {status}), where no question of yours goes.",
                          "Something else answers at its address: look at it in the Azure portal, or redeploy.", kind="denied")
    if status >= 500:
        return ToolFailed(ASK, f"It failed (status {status}).", "Ask again; if it fails again, redeploy with restart=true starts it anew.",
                          kind="engine", heard=message[:500])
    return engine_said(ASK, {"kind": "usage", "message": message}, "Look at it with list_deployments.")


def unheard(error: Exception) -> ToolFailed:
    """No whole answer came."""
    if is_certificate(error):
        return ToolFailed(ASK, "Its certificate is not one that this machine trusts: nothing was sent to it.",
                          "If a proxy looks into your traffic, add its certificate to the machine's own; else report this.",
                          kind="certificate")
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return ToolFailed(ASK, "Its address cannot be reached from this machine.",
                          "Check the network and its proxy, then ask again.", kind="network")
    if isinstance(error, httpx.TimeoutException):
        return ToolFailed(ASK, "It said nothing for a long time.", "Ask again, for a shorter answer (max_tokens).", kind="timeout")
    return ToolFailed(ASK, f"Its answer was cut off ({type(error).__name__}).",
                      "Ask again, for a shorter answer (max_tokens): Azure cuts what takes longer than four minutes.", kind="engine")


def is_certificate(error: BaseException | None) -> bool:
    """Whether a certificate that cannot be trusted is behind it."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
