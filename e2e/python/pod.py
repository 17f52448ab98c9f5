"""The manifests of `examples/kubernetes` are what Kubernetes takes, and what they tell the sidecar is what it reads."""

import os
import pathlib
import subprocess
import tempfile

import kubernetes_validate
import yaml

from runner import expect, test

_FOLDER = pathlib.Path(__file__).resolve().parent.parent.parent / "examples" / "kubernetes"


def _documents():
    for file in sorted(_FOLDER.glob("*.yaml")):
        yield from (document for document in yaml.safe_load_all(file.read_text(encoding="utf-8")) if document)


def _pods():
    return [it["spec"]["template"]["spec"] for it in _documents() if it["kind"] == "Deployment"]


@test
def every_manifest_is_valid_for_kubernetes():
    found = list(_documents())
    for document in found:
        kubernetes_validate.validate(document, "1.33", strict=True)
    assert {"Deployment", "ServiceAccount"} <= {it["kind"] for it in found}, found
    broken = {**found[0], "spec": {"replicas": "two"}}
    try:
        kubernetes_validate.validate(broken, "1.33", strict=True)
    except kubernetes_validate.ValidationError:
        return
    raise AssertionError("the schema finds nothing wrong in nonsense")


@test
def the_sidecar_of_the_manifest_understands_what_it_is_told():
    for pod in _pods():
        sidecar = next(it for it in pod["initContainers"] if it["name"] == "sidecar")
        expect(sidecar["restartPolicy"], "Always", "it starts first, and lives as long as the application")
        with tempfile.NamedTemporaryFile("w") as token:
            token.write("header.payload.signature")
            token.flush()
            told = {it["name"]: it["value"] for it in sidecar["env"]}
            told["AZURE_FEDERATED_TOKEN_FILE"] = token.name
            command = [os.environ["DEPUTIZE"], *sidecar["args"], "--print-config"]
            done = subprocess.run(command, capture_output=True, text=True, env=told, timeout=30)
        expect(done.returncode, 0, done.stderr)
        for wanted in ("entra_id", told["AZURE_CLIENT_ID"], told["PROBE_BIND_ADDRESS"], token.name):
            assert wanted in done.stdout, f"{wanted}: {done.stdout}"
        port = int(told["PROBE_BIND_ADDRESS"].rsplit(":", 1)[1])
        for probe in ("startupProbe", "livenessProbe"):
            expect(sidecar[probe]["httpGet"], {"path": "/healthz", "port": port}, probe)
        application = next(iter(pod["containers"]))
        given = {it["name"]: it["value"] for it in application["env"]}
        for name, path in (("", "token"), ("_EXCHANGE", "token/exchange"), ("_INTROSPECTION", "introspect")):
            expect(given[f"NAIS_TOKEN{name}_ENDPOINT"], f"http://{told['BIND_ADDRESS']}/api/v1/{path}", name)
        mount = next(it for it in sidecar["volumeMounts"])
        projected = next(it for it in pod["volumes"] if it["name"] == mount["name"])["projected"]["sources"][0]
        expect(projected["serviceAccountToken"]["audience"], "api://AzureADTokenExchange", "whom the token is for")
        assert "volumeMounts" not in application, "the application has no credential"
