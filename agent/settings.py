"""The settings of one installation, read from the environment here and nowhere else."""

import ipaddress
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from policies.tool import ToolFailed

PREFIX = "LUTHIER_"
PROVIDERS = ("openai", "azure_openai", "anthropic", "ollama")
PROVIDER_VARIABLES = (
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "AZURE_OPENAI_API_KEY",
    "AZURE_OPENAI_ENDPOINT",
    "OPENAI_API_VERSION",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",
    "OLLAMA_HOST",
)
"""The providers' own variables, read so that a hosted brain that was asked for finds its key and address."""


OF_TESTS = ("LUTHIER_AZURE_CONTRACT", "LUTHIER_AZURE_LIVE")
"""Variables of the tests, which are no settings and no mistakes."""
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_GROUP = re.compile(r"[\w().-]{0,89}[\w()-]")
_REGION = re.compile(r"[a-z][a-z0-9]{1,39}")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")


class SettingsError(ToolFailed):
    """A setting cannot be used: says which, what was found and what to write instead."""

    def __init__(self, what: str, because: str, try_next: str) -> None:
        super().__init__(what, because, try_next, kind="settings")


class Settings(BaseModel):
    """Everything a person may set. Each field is the environment variable `LUTHIER_` + its name in capitals, but for `root`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(
        default_factory=lambda: Path.home() / ".luthier", description="Folder of the book, the memory, runs, models and data."
    )
    host: str = Field(
        default="127.0.0.1", description="Address the web face listens on. One that others can reach needs an https `public_url`."
    )
    port: int = Field(default=8000, description="Port of the web face, 1 to 65535; 0 lets the system choose.")
    public_url: str = Field(default="", description="The address people open, when a proxy stands in front; `https://…`.")
    data: tuple[Path, ...] = Field(
        default=(), description="Folders that dataset references may name, separated as in PATH. Default: the samples and the home's data."
    )
    brain: str = Field(default="", description="`provider:model` (openai, azure_openai, anthropic, ollama); empty: the command assistant.")
    accelerator: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="Which training environment is used.")
    torch_index: str = Field(default="", description="Package index that set-up takes torch from; empty: the one pip is configured with.")
    notify: Literal["off", "ends", "all"] = Field(
        default="ends",
        description="Which ends of runs are told outside, where the secret NOTIFY holds an address: `ends`, `all` (stops, too) or `off`.",
    )
    database_url: str = Field(default="", description="Database of the book; empty: SQLite in the home.")
    azure_subscription: str = Field(default="", description="Subscription id to work in on Azure; empty: the only one of the sign-in.")
    azure_group: str = Field(default="", description="Resource group to work in on Azure; empty: one of Luthier's own.")
    azure_region: str = Field(default="", description="Azure region, such as `westus3`; empty: the first allowed one with serverless GPUs.")
    azure_image: str = Field(default="", description="Image that runs on Azure use, by tag or digest; empty: a public PyTorch image.")
    azure_sign_in: Literal["default", "cli", "workload", "managed"] = Field(
        default="default", description="Which sign-in to Azure is used: `default` takes the first one found."
    )
    azure_endpoint: str = Field(
        default="", description="For tests: an https address on this machine in place of Azure. Anything else is refused."
    )
    azure_ca: Path | None = Field(default=None, description="For tests: the file of the certificate authority of `azure_endpoint`.")
    runtime: Path | None = Field(
        default=None,
        description="Folder of the lock by which all homes of one user share this machine; default: the user's runtime folder.",
    )
    bundled: Path | None = Field(default=None, description="Folder of the bundled model; default `.bundled` in the project.")
    root: Path = Field(default_factory=lambda: Path(__file__).resolve().parent.parent, description="The project's folder.")
    provider: Mapping[str, SecretStr] = Field(default_factory=dict, repr=False, description="The providers' own variables as found.")

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> "Settings":
        """Read `env` (default: the process's environment). Raises SettingsError with what to write instead."""
        found = os.environ if env is None else env
        text = {name[len(PREFIX) :].lower(): value.strip() for name, value in found.items() if name.startswith(PREFIX) and value.strip()}
        given: dict[str, object] = {name: text[name] for name in ("host", "public_url", "torch_index", "database_url") if name in text}
        if "home" in text:
            given["home"] = _folder("LUTHIER_HOME", text["home"])
        if "runtime" in text:
            given["runtime"] = _folder("LUTHIER_RUNTIME", text["runtime"])
        if "bundled" in text:
            given["bundled"] = _folder("LUTHIER_BUNDLED", text["bundled"])
        if "data" in text:
            given["data"] = tuple(_folder("LUTHIER_DATA", part) for part in text["data"].split(os.pathsep) if part.strip())
        if "port" in text:
            given["port"] = _port(text["port"])
        if "brain" in text:
            given["brain"] = _brain(text["brain"])
        if "accelerator" in text:
            given["accelerator"] = _accelerator(text["accelerator"])
        if "notify" in text:
            given["notify"] = _notify(text["notify"])
        given.update(azure_settings(text))
        given["provider"] = {name: SecretStr(found[name]) for name in PROVIDER_VARIABLES if found.get(name)}
        settings = cls.model_validate(given)
        settings.check_host()
        return settings

    def check_host(self) -> None:
        """Refuse to be reachable from other machines without https. Raises SettingsError."""
        url = urlsplit(self.public_url)
        if self.public_url and (url.scheme not in ("http", "https") or not url.hostname):
            raise SettingsError(
                "LUTHIER_PUBLIC_URL cannot be used",
                f"it is {self.public_url!r}, which is no web address.",
                "Write it as https://luthier.example.org, or leave it unset.",
            )
        if not is_loopback(self.host) and url.scheme != "https":
            raise SettingsError(
                "LUTHIER_HOST is refused",
                f"{self.host!r} can be reached from other machines, and LUTHIER_PUBLIC_URL names no https address.",
                "Use 127.0.0.1, or put an https proxy in front and set LUTHIER_PUBLIC_URL=https://….",
            )

    def data_folders(self) -> tuple[Path, ...]:
        """The folders that dataset references may name; uploads always can be named."""
        uploads = self.home / "data"
        return (*(self.data or (self.root / "samples",)), *(() if uploads in self.data else (uploads,)))

    def engine(self) -> Literal["cpu", "cuda"]:
        """The training environment in use: `auto` takes CUDA where its environment has been prepared."""
        if self.accelerator != "auto":
            return self.accelerator
        return "cuda" if (self.root / ".engine-cuda" / "bin" / "python").exists() else "cpu"


    def machine_lock(self) -> Path:
        """The lock of this machine's one place to train, by device: the same for all homes of this user."""
        runtime = Path(f"/run/user/{os.getuid()}")
        shared = runtime / "luthier" if os.access(runtime, os.W_OK) else Path(tempfile.gettempdir()) / f"luthier-{os.getuid()}"
        return (self.runtime or shared) / f"machine-{self.engine()}.lock"


def unknown_settings(env: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Variables that look like ours and are not: most often a typing error."""
    known = {PREFIX + name.upper() for name in Settings.model_fields if name not in ("root", "provider")} | {*OF_TESTS}
    found = os.environ if env is None else env
    return tuple(sorted(name for name in found if name.startswith(PREFIX) and name not in known))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _folder(name: str, text: str) -> Path:
    path = Path(text.strip()).expanduser()
    if not path.is_absolute():
        raise SettingsError(f"{name} cannot be used", f"{text!r} is not an absolute path.", "Write the whole path, from / on.")
    return path


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise SettingsError("LUTHIER_PORT cannot be used", f"{text!r} is no port number.", "Give a number from 1 to 65535, such as 8000.")
    return int(text)


def _brain(text: str) -> str:
    provider, _, model = text.partition(":")
    if provider not in PROVIDERS or not model.strip():
        raise SettingsError(
            "LUTHIER_BRAIN cannot be used",
            f"{text!r} is not of the form provider:model with one of {', '.join(PROVIDERS)}.",
            "Write for example ollama:qwen3:4b or openai:gpt-5-mini, or leave it unset for the built-in command assistant.",
        )
    return f"{provider}:{model.strip()}"


def _accelerator(text: str) -> str:
    if text not in ("auto", "cpu", "cuda"):
        raise SettingsError(
            "LUTHIER_ACCELERATOR cannot be used", f"{text!r} is none of auto, cpu, cuda.", "Choose one of these, or leave it unset."
        )
    return text


def _notify(text: str) -> str:
    if text not in ("off", "ends", "all"):
        raise SettingsError(
            "LUTHIER_NOTIFY cannot be used", f"{text!r} is none of off, ends, all.", "Choose one of these, or leave it unset."
        )
    return text


def azure_settings(text: Mapping[str, str]) -> dict[str, object]:
    """The settings of Azure from `text`, by field. Raises SettingsError, above all for an endpoint that is not this machine."""
    given: dict[str, object] = {}
    forms = (
        ("azure_subscription", _GUID, "no subscription id", "Write the id as `az account list` shows it."),
        ("azure_group", _GROUP, "no name of a resource group", "Write the name as the Azure portal shows it."),
        ("azure_region", _REGION, "no region", "Write it as Azure does in commands: westus3, swedencentral."),
        ("azure_image", _IMAGE, "no name of an image", "Write HOST/NAME:TAG or HOST/NAME@sha256:…."),
        ("azure_sign_in", re.compile("default|cli|workload|managed"), "none of default, cli, workload, managed",
         "Choose one of these, or leave it unset."),
    )
    for field, form, wrong, then in forms:
        value = text.get(field, "")
        value = value.replace(" ", "").lower() if field == "azure_region" else value
        if value and not form.fullmatch(value):
            raise SettingsError(f"{PREFIX}{field.upper()} cannot be used", f"{value!r} is {wrong}.", then)
        if value:
            given[field] = value
    if "azure_endpoint" in text:
        given["azure_endpoint"] = _stand_in(text["azure_endpoint"])
    if "azure_ca" in text:
        given["azure_ca"] = _folder("LUTHIER_AZURE_CA", text["azure_ca"])
    return given


def _stand_in(text: str) -> str:
    """An address that is asked in place of Azure with a real sign-in: on this machine and by https, or not at all."""
    try:
        parts = urlsplit(text)
        fine = parts.scheme == "https" and is_loopback(parts.hostname or "") and parts.port is not None
    except ValueError:
        parts, fine = urlsplit(""), False
    if not fine or parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password:
        raise SettingsError("LUTHIER_AZURE_ENDPOINT is refused", f"{text!r} is not of the form https://127.0.0.1:PORT.",
                            "It is for tests only: leave it unset to work with Azure.")
    return f"https://{parts.netloc}"
