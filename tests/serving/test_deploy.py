"""What `deploy/` holds agrees with the service: its addresses, options, limits and packages."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from helpers.service import free_port, serving

from keras_int8nmt.cli.command_line import make_parser
from keras_int8nmt.serving import ServingSettings
from keras_int8nmt.serving.server import _GRACE

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
SETTINGS = ServingSettings()
# From SIGTERM to the end of what was accepted.
TO_THE_END = SETTINGS.seconds + _GRACE


def manifests():
    yaml = pytest.importorskip("yaml")
    return {each["kind"]: each for each in yaml.safe_load_all(read("kubernetes.yaml"))}


def read(name):
    return (DEPLOY / name).read_text(encoding="utf-8")


def container():
    pod = manifests()["Deployment"]["spec"]["template"]
    (found,) = pod["spec"]["containers"]
    return pod, found


def entry_point(name):
    (words,) = re.findall(rf"^{name} (\[.*\])$", read("Dockerfile.serve"), re.MULTILINE)
    return json.loads(words)


def test_kubernetes_published_schemas_take_the_manifest():
    validate = pytest.importorskip("kubernetes_validate")
    found = manifests()
    assert found.keys() == {"Deployment", "Service"}
    for version in ("1.25", validate.latest_version()):
        for each in found.values():
            # Strictly: a name that the schema does not know is an error.
            validate.validate(each, version, strict=True)
    found["Deployment"]["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(validate.ValidationError, match="readynessProbe"):
        validate.validate(found["Deployment"], version, strict=True)


def test_probes_and_scrapers_ask_what_the_service_answers(client):
    pod, one = container()
    ports = {port["name"]: port["containerPort"] for port in one["ports"]}
    command = [*entry_point("ENTRYPOINT"), *one["args"]]
    options = make_parser().parse_args(command[1:])
    assert (command[0], options.host) == ("keras-int8nmt", "0.0.0.0")
    assert ports == {"http": options.port}
    probes = {name: each["httpGet"] for name, each in one.items() if name.endswith("Probe")}
    assert probes == {
        "startupProbe": {"path": "/ready", "port": "http"},
        "readinessProbe": {"path": "/ready", "port": "http"},
        "livenessProbe": {"path": "/health", "port": "http"},
    }
    told = {k.partition("/")[2]: v for k, v in pod["metadata"]["annotations"].items()}
    assert told == {"scrape": "true", "path": "/metrics", "port": str(options.port)}
    for path in {*(each["path"] for each in probes.values()), told["path"]}:
        assert client.get(path).status_code == 200
    service = manifests()["Service"]["spec"]
    assert service["selector"] == pod["metadata"]["labels"]
    assert [port["targetPort"] for port in service["ports"]] == ["http"]


def test_whoever_ends_a_service_waits_for_what_it_accepted():
    pod, one = container()
    (sleep,) = (int(x) for x in one["lifecycle"]["preStop"]["exec"]["command"] if x.isdigit())
    assert pod["spec"]["terminationGracePeriodSeconds"] >= sleep + TO_THE_END
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", read("keras-int8nmt.service"), re.MULTILINE)
    assert int(seconds) >= TO_THE_END
    (seconds,) = re.findall(r"`docker stop -t (\d+)`", read("Dockerfile.serve"))
    assert int(seconds) >= TO_THE_END


def test_the_container_has_the_packages_of_the_extra_and_listens_where_it_says():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = {re.match(r"[\w-]+", each)[0] for each in extras["optional-dependencies"]["serve"]}
    steps = re.findall(r"^RUN pip install (.*)$", read("Dockerfile.serve"), re.MULTILINE)
    installed = {word for step in steps for word in step.split() if not word.startswith(("-", '"'))}
    assert installed - {"numpy", "sentencepiece", "tqdm"} == wanted
    options = make_parser().parse_args([*entry_point("ENTRYPOINT"), *entry_point("CMD")][1:])
    assert re.findall(r"^EXPOSE (\d+)$", read("Dockerfile.serve"), re.MULTILINE) == [
        str(options.port)
    ]


def test_what_the_container_asks_itself_tells_whether_it_is_ready(folders):
    program, *words = entry_point("HEALTHCHECK CMD")
    assert program == "python"
    with serving(str(folders / "int8")) as service:
        asked = [word.replace("http://127.0.0.1:5000", service.url) for word in words]
        assert asked != words
        check = [sys.executable, *asked]
        assert subprocess.run(check, check=False).returncode == 0
        assert service.stop() == 0
        assert subprocess.run(check, stderr=subprocess.DEVNULL, check=False).returncode == 1


def test_the_unit_of_systemd_runs_a_command_and_allows_its_connections():
    unit = read("keras-int8nmt.service")
    (command,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    program, *words = shlex.split(command)
    assert program.endswith("/keras-int8nmt")
    assert make_parser().parse_args(words).workers == 2
    (descriptors,) = re.findall(r"^LimitNOFILE=(\d+)$", unit, re.MULTILINE)
    assert int(descriptors) > SETTINGS.connections


def test_gunicorn_has_the_limits_of_the_service():
    pytest.importorskip("gunicorn")
    pytest.importorskip("uvicorn_worker")
    found = runpy.run_path(str(DEPLOY / "gunicorn.conf.py"))
    assert found["keepalive"] == SETTINGS.idle_seconds
    assert found["worker_connections"] == SETTINGS.connections
    assert found["graceful_timeout"] >= TO_THE_END


@pytest.mark.slow
def test_workers_of_gunicorn_share_a_model_and_keep_their_connections(folders, tmp_path):
    pytest.importorskip("gunicorn")
    pytest.importorskip("uvicorn_worker")
    port = free_port()
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", str(DEPLOY / "gunicorn.conf.py")],
            # `-m` looks for packages here first, and beside the sources would find them.
            cwd=tmp_path,
            env={
                **os.environ,
                "MODELS": f"en-de={folders / 'int8'}",
                "BIND": f"127.0.0.1:{port}",
                "WORKERS": "2",
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    body = json.dumps({"q": "It rains.", "source": "en", "target": "de"})

    def ask(connection):
        connection.request("POST", "/translate", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200
        return json.load(answer)

    try:
        with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            for _ in range(600):
                assert process.poll() is None, (tmp_path / "log").read_text("utf-8")
                try:
                    connection.connect()
                    break
                except ConnectionRefusedError:
                    time.sleep(0.1)
            first, asked_by = ask(connection), connection.sock
            # Longer than what gunicorn (2 s) and uvicorn (5 s) keep by themselves.
            time.sleep(7)
            assert ask(connection) == first
            assert connection.sock is asked_by
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        cores = [frozenset(os.sched_getaffinity(int(child))) for child in children]
        assert len(cores) == 2
        assert len(os.sched_getaffinity(0)) < 2 or not cores[0] & cores[1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(150) == 0
    finally:
        process.kill()
        process.wait()
