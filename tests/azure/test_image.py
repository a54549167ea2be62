"""The image: its name taken apart, and its digest from the registry or not at all."""

import pytest

from tests.azure.arm_registry import fake_digest
from tests.azure.cloud import Cloud
from tools.azure.choice import DEFAULT_IMAGE
from tools.azure.client import Azure
from tools.azure.image import Image, read_image, resolve_image
from tools.azure.trouble import AzureTrouble

DIGEST = "sha256:" + "fa4e" * 16


@pytest.mark.parametrize(("text", "image"), [
    ("ubuntu", Image("docker.io", "library/ubuntu", "latest")),
    ("pytorch/pytorch:2", Image("docker.io", "pytorch/pytorch", "2")),
    ("docker.io/pytorch/pytorch:2", Image("docker.io", "pytorch/pytorch", "2")),
    ("ghcr.io/a/b/c:v1", Image("ghcr.io", "a/b/c", "v1")),
    ("localhost:5000/a:v1", Image("localhost:5000", "a", "v1")),
    (f"ghcr.io/a/b@{DIGEST}", Image("ghcr.io", "a/b", "", DIGEST)),
    (f"ghcr.io/a/b:v1@{DIGEST}", Image("ghcr.io", "a/b", "v1", DIGEST)),
])
def test_a_name_is_taken_apart(text: str, image: Image) -> None:
    assert read_image(text) == image


@pytest.mark.parametrize("text", [
    "", "A/b", "a/../b", "a:b c", "a@sha256:12", f"a@md5:{'0' * 64}", "https://ghcr.io/a", "a//../x", "a?x=1",
])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(AzureTrouble, match="is no name of an image"):
        read_image(text)


def test_a_tag_becomes_the_digest_that_the_registry_gives(azure: Azure) -> None:
    name = DEFAULT_IMAGE.removeprefix("docker.io/")
    assert resolve_image(azure, DEFAULT_IMAGE) == f"docker.io/pytorch/pytorch@{fake_digest(name)}"


def test_a_digest_is_taken_as_it_is_and_nobody_is_asked(azure: Azure, cloud: Cloud) -> None:
    assert resolve_image(azure, f"ghcr.io/a/b:v1@{DIGEST}") == f"ghcr.io/a/b@{DIGEST}"
    assert not [each for each in cloud.world.sent if each.host == "registry"]


@pytest.mark.parametrize("digest", ["", "sha256:12", "latest"], ids=["unknown", "short", "no digest"])
def test_a_tag_without_a_digest_is_refused_and_none_is_made_up(azure: Azure, cloud: Cloud, digest: str) -> None:
    cloud.world.images["a/b:v1"] = digest
    with pytest.raises(AzureTrouble) as raised:
        resolve_image(azure, "docker.io/a/b:v1")
    assert raised.value.trouble == "not_prepared" and "LUTHIER_AZURE_IMAGE" in raised.value.try_next


def test_a_registry_whose_token_is_elsewhere_is_not_followed(azure: Azure, cloud: Cloud) -> None:
    cloud.world.addresses["arm"] = "https://tokens.example"
    with pytest.raises(AzureTrouble) as raised:
        resolve_image(azure, DEFAULT_IMAGE)
    assert raised.value.trouble == "refused_host"
