"""Container apps of the stand-in: a child behind an address that checks who asks, awake only after a request."""

from typing import Any

import httpx
import pytest

from tests.azure.cloud import Cloud
from tests.azure.test_stand_in import DIGEST, ENVIRONMENT, prepared

SERVER = """
import http.server,os,sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.environ['CONTAINER_APP_REVISION'].encode())
    def log_message(self, *a): pass
http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), H).serve_forever()
"""


def app_body(suffix: str = "r1", *, source: str = "127.0.0.0/8", mode: str = "Single", traffic: Any = None,
             command: tuple[str, ...] = ("python3", "-c", SERVER, "8080")) -> dict[str, Any]:
    """An app that answers with the name of its revision."""
    return {"location": "westus3", "tags": {"luthier-managed": "1"}, "properties": {
        "environmentId": ENVIRONMENT, "workloadProfileName": "Consumption",
        "configuration": {
            "activeRevisionsMode": mode, "secrets": [{"name": "api-key", "value": "k"}],
            "ingress": {"external": True, "targetPort": 8080, "transport": "auto", "allowInsecure": False,
                        "ipSecurityRestrictions": [{"name": "me", "description": "d", "ipAddressRange": source, "action": "Allow"}],
                        "traffic": traffic or [{"latestRevision": True, "weight": 100}]}},
        "template": {
            "revisionSuffix": suffix,
            "containers": [{"name": "serve", "image": DIGEST, "command": [command[0]], "args": list(command[1:]), "env": [],
                            "resources": {"cpu": 2.0, "memory": "4Gi"}, "volumeMounts": [],
                            "probes": [{"type": "Startup", "httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"},
                                        "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3}]}],
            "scale": {"minReplicas": 0, "maxReplicas": 1, "cooldownPeriod": 300}, "volumes": []}}}


def ask(cloud: Cloud, app: Any) -> tuple[int, str]:
    """Status and text of one request to the app's address."""
    import ssl

    address = f"https://{app.properties.configuration.ingress.fqdn}/"
    answer = httpx.get(address, verify=ssl.create_default_context(cafile=str(cloud.ca)), timeout=30)
    return answer.status_code, answer.text


def test_an_app_wakes_at_the_first_request_and_sleeps_again(cloud: Cloud) -> None:
    apps = prepared(cloud)
    app = apps.container_apps.begin_create_or_update("rg", "luthier-app-a", app_body()).result()
    assert not list(apps.container_apps_revision_replicas.list_replicas("rg", "luthier-app-a", "luthier-app-a--r1").value)
    assert ask(cloud, app) == (200, "luthier-app-a--r1")
    assert len(apps.container_apps_revision_replicas.list_replicas("rg", "luthier-app-a", "luthier-app-a--r1").value) == 1
    cloud.app("luthier-app-a").scale_to_zero()
    shown = apps.container_apps_revisions.get_revision("rg", "luthier-app-a", "luthier-app-a--r1").properties
    assert (shown.running_state, shown.replicas) == ("ScaledToZero", 0)


def test_an_address_outside_the_rules_is_refused(cloud: Cloud) -> None:
    apps = prepared(cloud)
    app = apps.container_apps.begin_create_or_update("rg", "luthier-app-a", app_body(source="203.0.113.0/24")).result()
    assert ask(cloud, app)[0] == 403
    assert cloud.app("luthier-app-a").revisions[0].starts == 0


def test_a_stopped_app_does_not_answer_and_a_started_one_does(cloud: Cloud) -> None:
    apps = prepared(cloud)
    app = apps.container_apps.begin_create_or_update("rg", "luthier-app-a", app_body()).result()
    assert apps.container_apps.begin_stop("rg", "luthier-app-a").result().properties.running_status == "Stopped"
    assert ask(cloud, app)[0] == 404
    apps.container_apps.begin_start("rg", "luthier-app-a").result()
    assert ask(cloud, app)[0] == 200


def test_two_revisions_share_the_requests_by_weight(cloud: Cloud) -> None:
    apps = prepared(cloud)
    apps.container_apps.begin_create_or_update("rg", "luthier-app-a", app_body()).result()
    split = [{"revisionName": "luthier-app-a--r1", "weight": 75}, {"latestRevision": True, "weight": 25}]
    app = apps.container_apps.begin_create_or_update(
        "rg", "luthier-app-a", app_body("r2", mode="Multiple", traffic=split)).result()
    names = [ask(cloud, app)[1] for _ in range(8)]
    assert (names.count("luthier-app-a--r1"), names.count("luthier-app-a--r2")) == (6, 2)


def test_an_app_whose_command_ends_shows_a_failed_revision(cloud: Cloud) -> None:
    apps = prepared(cloud)
    body = app_body(command=("python3", "-c", "raise SystemExit(3)"))
    app = apps.container_apps.begin_create_or_update("rg", "luthier-app-a", body).result()
    assert ask(cloud, app)[0] == 503
    shown = apps.container_apps_revisions.get_revision("rg", "luthier-app-a", "luthier-app-a--r1").properties
    assert (shown.running_state, shown.health_state) == ("Failed", "Unhealthy")


@pytest.mark.parametrize("gone", ["stop", "delete"])
def test_nothing_of_an_app_runs_on(cloud: Cloud, gone: str) -> None:
    apps = prepared(cloud)
    app = apps.container_apps.begin_create_or_update("rg", "luthier-app-a", app_body()).result()
    ask(cloud, app)
    side = cloud.app("luthier-app-a")
    child = side.revisions[0].child
    assert child is not None
    getattr(apps.container_apps, f"begin_{gone}")("rg", "luthier-app-a").result()
    assert child.process.poll() is not None
