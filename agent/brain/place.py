"""Where a request wants something to run: this machine or Azure, and the GPU, region, money and time that it names."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

_I = re.IGNORECASE
_AZURE = re.compile(r"\b(?:azure|clouds?|container apps?)\b", _I)
_FROM_AZURE = re.compile(r"\b(?:from|out of|aus|von|off)\s+(?:the |der )?(?:azure|cloud)\b", _I)
_HERE = re.compile(
    r"\b(?:here|local(?:ly)?|(?:this|my) (?:own )?(?:machine|computer|box|laptop|pc)|hier|lokal|(?:diesem|meinem) (?:rechner|computer))\b",
    _I,
)
_FOREIGN = re.compile(
    r"\b(?:on|in|to|at|auf|bei|into)\s+(?:the\s+)?"
    r"(kubernetes|k8s|aws|amazon|gcp|google(?: cloud)?|sagemaker|hugging ?face|hub|runpod|lambda labs|modal|heroku|vercel)\b",
    _I,
)
_GPU = re.compile(r"\b(t4|a100|h100|h200|b200|a10g?|l4|l40s?|v100|p100)s?\b", _I)
_CPU = re.compile(r"\b(?:cpu|processor|without (?:a )?gpu|no gpu|ohne gpu)\b", _I)
_RENTED = re.compile(
    r"\b(?:on|to|with|using|rent|hire|take|get|use|auf|mit)\s+(?:an?|one|the|einer?|einem)?\s*(?:nvidia\s+)?(?:t4|a100|h100|h200)\b|"
    r"\b(?:rent|hire|miete)\b.{0,20}\bgpus?\b|\b(?:rented|serverless) gpu\b", _I,
)
_MANY = re.compile(
    r"\b(?:[2-9]|\d{2,}|two|three|four|six|eight|zwei|vier|acht)\s*(?:x\s*)?(?:nvidia\s+)?(?:t4|a100|h100|h200|gpu)s?\b", _I)
_SIDE = r"(?:north|south|east|west|central|southeast|northcentral|southcentral|westcentral|germanywest)"
_LAND = (
    r"(?:canada|brazil|uk|france|germany|switzerland|norway|sweden|poland|italy|spain|uae|southafrica|south africa|israel|qatar|japan|"
    r"korea|australia|newzealand|new zealand|mexico|austria|belgium|chile|indonesia|malaysia|taiwan)"
)
_REGION = re.compile(
    rf"\b((?:{_SIDE}\s?){{1,2}}(?:us|europe|asia|india)(?:\s?[2-4])?|{_LAND}\s?(?:{_SIDE}\s?){{0,1}}{_SIDE}(?:\s?[2-4])?)\b", _I)
_COUNTRIES = {
    "sweden": "swedencentral", "schweden": "swedencentral", "norway": "norwayeast", "italy": "italynorth", "italien": "italynorth",
    "france": "francecentral", "frankreich": "francecentral", "germany": "germanywestcentral", "deutschland": "germanywestcentral",
    "switzerland": "switzerlandnorth", "poland": "polandcentral", "spain": "spaincentral", "uk": "uksouth", "england": "uksouth",
    "canada": "canadacentral", "brazil": "brazilsouth", "australia": "australiaeast", "japan": "japaneast", "korea": "koreacentral",
    "india": "centralindia", "ireland": "northeurope",
}
"""The region that a country's name stands for; whether it has what is asked for, Azure says."""
_COUNTRY = re.compile(rf"\b(?:in|to|from|nach)\s+(?:the )?({'|'.join(_COUNTRIES)})\b", _I)
_THERE = re.compile(
    rf"\b(?:train|run|tune|deploy|serve|host|trainiere)(?: it| this| that)? (?:in|nach) (?:the )?(?:{'|'.join(_COUNTRIES)})\b", _I)
"""A country right after the verb is a place to run at; anywhere else it may be what the data is about."""
_EUROPE = re.compile(
    r"\b(?:train|run|tune|deploy|serve|host|azure|cloud|jsonl|csv|gpu|t4|a100)s?(?: it| this| that)? (?:in|to|nach) "
    r"(?:the )?(?:europe|eu|europa)\b", _I)
_EXECUTION = re.compile(r"\b(luthier-run-[0-9a-z]{4,12}-[0-9a-z]{5,9})\b", _I)
_THING = re.compile(r"\b(luthier-(?:run|app)-[a-z0-9]{1,20})\b", _I)
_GROUP = re.compile(r"\b(?:(?:resource )?group|gruppe|ressourcengruppe)\s+(?:named |called )?[\"'“„]?([A-Za-z0-9][\w().-]{2,89})", _I)
_OWN_GROUP = re.compile(r"\b(luthier-(?!run-|app-|env-|log-)[0-9a-z][0-9a-z-]{1,60})\b", _I)
_MONEY = re.compile(r"\$\s*(\d+(?:\.\d+)?)|\b(\d+(?:\.\d+)?)\s*(?:\$|usd\b|dollars?\b|us-dollar\b)", _I)
_HOURS = re.compile(
    r"\b(?:for|by|up to|at most|within|für|um|höchstens)\s+(?:(?:another )?(\d+|an?|one|two|ein(?:e|en)?|zwei)\s*)(?:more )?"
    r"(hours?|h|days?|stunden?|tage?)\b", _I)
_ADDRESS = re.compile(r"(?<![\w.])(\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,2})?)(?![\w.])")
_ONE = {"a": 1, "an": 1, "one": 1, "ein": 1, "eine": 1, "einen": 1, "two": 2, "zwei": 2}


@dataclass(frozen=True, slots=True)
class Place:
    """What a request says of where; empty where it says nothing."""

    provider: Literal["", "azure", "local"] = ""
    foreign: str = ""
    """A place that Luthier does not know, as it was named."""
    gpu: str = ""
    """`T4`, `A100`, …, or `cpu`, in Azure."""
    many: bool = False
    """Several GPUs at once were asked for."""
    region: str = ""
    """As Azure writes it: `swedencentral`."""
    vague: bool = False
    """A continent was named, and no region."""
    execution: str = ""
    thing: str = ""
    """A job or an app by its name in Azure."""
    group: str = ""
    budget_usd: float | None = None
    hours: int | None = None
    addresses: tuple[str, ...] = ()

    def args(self, *names: str) -> Mapping[str, Any]:
        """What was named of `provider, gpu, region, budget_usd, max_hours, allow_ips`, as tools take it; nothing for this machine."""
        if self.provider != "azure":
            return {}
        found: dict[str, Any] = {
            "provider": "azure", "gpu": self.gpu, "region": self.region, "budget_usd": self.budget_usd, "max_hours": self.hours,
            "allow_ips": list(self.addresses) or None,
        }
        return {name: value for name, value in found.items() if name in names and value not in (None, "")}

    def moved(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a plan, moved to the place that was named."""
        if self.provider == "local":
            return {name: value for name, value in args.items() if name not in ("provider", "gpu", "region", "budget_usd")}
        there = replace(self, provider="azure") if args.get("provider") == "azure" else self
        return {**args, **there.args("provider", "gpu", "region", "budget_usd")}


def read_place(text: str) -> Place:
    """Copy out where a request wants something to run."""
    foreign, gpu, region = _FOREIGN.search(text), _GPU.search(text), _REGION.search(text)
    thing, execution, group = _THING.search(text), _EXECUTION.search(text), _GROUP.search(text) or _OWN_GROUP.search(text)
    here, country = bool(_HERE.search(text)), _COUNTRY.search(text)
    leaving = here and _FROM_AZURE.search(text)
    azure = not leaving and bool(_AZURE.search(text) or region or _THERE.search(text) or (_RENTED.search(text) and not here))
    country = country if azure else None
    found = re.sub(r"\s", "", region.group(1)).lower() if region else _COUNTRIES[country.group(1).lower()] if country else ""
    money, hours = _MONEY.search(text), _HOURS.search(text)
    return Place(
        provider="azure" if azure else "local" if here else "",
        foreign=foreign.group(1) if foreign and not azure else "",
        gpu=gpu.group(1).upper() if gpu else "cpu" if azure and _CPU.search(text) else "",
        many=bool(_MANY.search(text)),
        region=found,
        vague=not found and bool(_EUROPE.search(text)),
        execution=execution.group(1).lower() if execution else "",
        thing=thing.group(1).lower() if thing else "",
        group=group.group(1) if group else "",
        budget_usd=float(money.group(1) or money.group(2)) if money else None,
        hours=_hours(hours.group(1), hours.group(2)) if hours else None,
        addresses=tuple(dict.fromkeys(_ADDRESS.findall(text))),
    )


def _hours(count: str, unit: str) -> int:
    number = _ONE.get(count.lower()) or int(count)
    return number * 24 if unit.lower().startswith(("d", "t")) else number
