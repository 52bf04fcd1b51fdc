"""The recipes of launch/, as far as they can be tested without their schedulers."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

LAUNCH = Path(__file__).parents[1] / "launch"
PATIENCE = 300.0
"""Seconds after which a script is given up; much more than any takes."""

STUB = """#!/usr/bin/env bash
echo "{name} $* with '$RAY_ADDRESS', a token of ${#RAY_AUTH_TOKEN} and statistics $RAY_USAGE_STATS_ENABLED" \\
    >>"$STUB_LOG"
"""
STUBS = {
    "scontrol": '[[ $1 == show ]] && printf "%s\\n" node-a node-b node-c || true',
    # Like Slurm since 22.05, it does not pass the CPUs that the job requested on to a step.
    "srun": 'echo "a step with ${SRUN_CPUS_PER_TASK:-1} CPUs" >>"$STUB_LOG"\n'
    'while [[ $1 == --* ]]; do shift; done; exec "$@"',
    "hostname": "echo 192.0.2.10 192.0.2.11",
    # The script polls for the head node every second.
    "sleep": "exec /bin/sleep 0.02",
    "ray": """[[ $1 == start && -e $STUB_LOG.broken ]] && exit 1
[[ $1 == start ]] && exec /bin/sleep 600
grep -q "^ray start --head" "$STUB_LOG" && [[ ! -e $STUB_LOG.broken ]]""",
    "tune-brain": """until grep -q "^ray start --block" "$STUB_LOG"; do sleep 0.02; done
trap 'echo told to end >>"$STUB_LOG"; exit 130' TERM
echo training >>"$STUB_LOG"
while [[ -e $STUB_LOG.hang ]]; do sleep 0.05; done""",
}


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Any]:
    """Start the SLURM recipe on three nodes that do nothing; returns its process and the log of all calls."""
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, does in STUBS.items():
        (programs / name).write_text(STUB.replace("{name}", name) + does + "\n")
        (programs / name).chmod(0o755)
    log = tmp_path / "calls"
    job = {"SLURM_JOB_ID": "123456", "SLURM_JOB_NODELIST": "node-[a-c]", "SLURM_JOB_NUM_NODES": "3"}
    more = {"SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_CPUS_PER_TASK": "8", "STUB_LOG": str(log)}
    started = list[subprocess.Popen[bytes]]()

    def start(*arguments: str) -> tuple[subprocess.Popen[bytes], Path]:
        command = ["bash", str(LAUNCH / "slurm.sbatch"), *arguments]
        with (tmp_path / "printed").open("w") as printed:
            environment = {"PATH": "/usr/bin:/bin", **job, **more}
            started.append(subprocess.Popen(command, env=environment, stderr=printed))
        return started[-1], log

    yield start
    for process in started:
        process.kill()


def test_slurm_starts_a_head_workers_and_a_search_with_token_authentication(slurm: Any) -> None:
    running, log = slurm("out", "--data", "images")
    assert running.wait(PATIENCE) == 0
    calls = log.read_text()
    assert "ray start --head --block --node-ip-address 192.0.2.10 --port 23456" in calls
    assert "ray start --block --address 192.0.2.10:23456 --num-cpus 8 --num-gpus 0" in calls
    assert "srun --nodes=2 --ntasks=2 --exclude=node-a" in calls
    assert "a step with 8 CPUs" in calls
    assert "a step with 1 CPUs" not in calls
    assert "tune-brain search --address auto --out out --data images" in calls
    secured = "with '192.0.2.10:23456', a token of 64 and statistics 0"
    commands = [line for line in calls.splitlines() if line.startswith(("ray ", "tune-brain "))]
    assert len(commands) >= 4
    assert all(line.endswith(secured) for line in commands), commands
    assert "requeue" not in calls
    assert "--nodes=3 --ntasks=3 --overlap rm -rf /tmp/tb-123456" in calls


@pytest.mark.parametrize(
    ("given", "called", "unused"),
    [
        ("out --data images --configs 9", "resume out --address auto", "--data images --configs 9"),
        (
            "out --concurrency 4 --gpus-per-trial=0",
            "resume out --address auto --concurrency 4 --gpus-per-trial=0",
            "",
        ),
        ("out --concurrency", "resume out --address auto --concurrency", ""),
        ("evaluate out --seeds 5", "evaluate out --address auto --seeds 5", ""),
    ],
)
def test_slurm_resumes_or_evaluates_a_run_that_exists_on_its_own_cluster(
    slurm: Any, tmp_path: Path, given: str, called: str, unused: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.toml").touch()
    running, log = slurm(*given.split())
    assert running.wait(PATIENCE) == 0
    assert f"tune-brain {called} with" in log.read_text()
    printed = (tmp_path / "printed").read_text()
    assert printed == (
        f"out holds a run, which is resumed as it began, without: {unused}\n" if unused else ""
    )


def test_slurm_fails_if_the_head_does_not_start(slurm: Any, tmp_path: Path) -> None:
    (tmp_path / "calls.broken").touch()
    running, log = slurm("out")
    assert running.wait(PATIENCE) == 1
    assert "tune-brain" not in log.read_text()


@pytest.mark.parametrize(("number", "requeued"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_slurm_ends_the_search_and_requeues_the_job_only_when_its_time_is_up(
    slurm: Any, tmp_path: Path, number: signal.Signals, requeued: bool
) -> None:
    (tmp_path / "calls.hang").touch()
    running, log = slurm("out")
    deadline = time.monotonic() + PATIENCE
    while not log.exists() or "training" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    running.send_signal(number)
    running.wait(PATIENCE)
    before, _, after = log.read_text().partition("told to end")
    assert "requeue" not in before
    assert ("scontrol requeue 123456" in after) is requeued


@pytest.mark.parametrize("script", ["slurm.sbatch", "workstation.sh", "environment.sh"])
def test_scripts_pass_bash_and_shellcheck(script: str) -> None:
    subprocess.run(["bash", "-n", LAUNCH / script], check=True, timeout=PATIENCE)
    if shutil.which("shellcheck"):
        check = ["shellcheck", "--external-sources", str(LAUNCH / script)]
        subprocess.run(check, cwd=LAUNCH.parent, check=True, timeout=PATIENCE)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ray-cluster", "ray-cluster-onprem"])
def test_the_files_of_the_cluster_launcher_pass_its_validation(name: str) -> None:
    import jsonschema
    import ray
    import yaml
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load((LAUNCH / f"{name}.yaml").read_text())
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(config, schema)
    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["max_workers"] == 2
    assert "RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0" in " ".join(config["setup_commands"])
    # For rsync, a pattern without a leading slash matches at any depth, such as tune_brain/data.
    assert all(pattern.startswith("/") for pattern in config["rsync_exclude"])


def test_cloud_machines_have_an_image_and_refuse_an_old_python() -> None:
    yaml = pytest.importorskip("yaml")
    config = yaml.safe_load((LAUNCH / "ray-cluster.yaml").read_text())
    assert all(node["node_config"]["ImageId"] for node in config["available_node_types"].values())
    check = config["setup_commands"][0].replace("python3", sys.executable)
    subprocess.run(["bash", "-c", check], check=True, timeout=PATIENCE)
    old = subprocess.run(
        ["bash", "-c", check.replace("(3, 11)", "(99,)")], capture_output=True, text=True, timeout=PATIENCE
    )
    assert old.returncode == 1
    assert "Python 3.11 or newer" in old.stderr


def test_the_kubernetes_job_mounts_only_volumes_that_it_defines() -> None:
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load((LAUNCH / "kuberay-rayjob.yaml").read_text())
    cluster = job["spec"]["rayClusterSpec"]
    pods = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert cluster["authOptions"] == {"mode": "token"}
    assert job["spec"]["entrypoint"].count("--address auto") == 2, "a search that is resumed joins it too"
    for pod in pods:
        spec = pod["template"]["spec"]
        volumes = {volume["name"] for volume in spec["volumes"]}
        for container in spec["containers"]:
            environment = {variable["name"]: variable["value"] for variable in container["env"]}
            assert environment["RAY_USAGE_STATS_ENABLED"] == "0"
            # Openings of the test are counted in the cache, which must outlive the pods.
            mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
            assert any(environment["TUNE_BRAIN_CACHE"].startswith(f"{path}/") for path in mounted)
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert container["image"]
