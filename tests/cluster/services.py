"""Real daemons on the loopback interface, each with all its files in a folder of its own: Slurm, SSH."""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.cluster import recipes
from tests.stores.servers import free_ports

NODES = 3
MEGABYTES = 6000
"""Memory that Slurm believes a node to have."""

SLURM_CONF = """\
ClusterName=daskaug
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
# No control groups and no accounting database: what a machine without systemd has.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
# Without these two its daemons listen on every interface.
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


def asked(command: list[str], env: dict[str, str]) -> str:
    """Output of a command of Slurm's, empty where the controller does not answer."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=20, check=False)
        return done.stdout if done.returncode == 0 else ""
    return ""


@contextlib.contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """A controller and three nodes of one core each, all on this host; gives the environment for its commands."""
    for name in ("munge", "state", "spool", *(f"spool/n{node}" for node in range(NODES))):
        (folder / name).mkdir(mode=0o755)
    for above in (folder, *folder.parents[:2]):  # munge wants to be reached by others, its key not to be read
        above.chmod(above.stat().st_mode | 0o011)
    key = folder / "munge/key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    control, *ports = free_ports(1 + NODES)
    host = socket.gethostname().partition(".")[0]
    nodes = (
        f"NodeName=n{node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory={MEGABYTES}"
        for node, port in enumerate(ports)
    )
    conf = folder / "slurm.conf"
    conf.write_text(
        SLURM_CONF.format(host=host, control=control, user=getpass.getuser(), folder=folder, nodes="\n".join(nodes))
    )
    env = recipes.environment(SLURM_CONF=conf)
    munge = [recipes.program("munged"), "--foreground", "--force", f"--key-file={key}", "--num-threads=2"]
    munge += [
        f"--{name}={folder}/munge/{name.partition('-')[0]}" for name in ("socket", "pid-file", "log-file", "seed-file")
    ]
    with contextlib.ExitStack() as stack:
        stack.enter_context(recipes.running(munge, folder / "munge.log", env))
        recipes.until((folder / "munge/socket").exists, "no socket of munge")
        stack.enter_context(recipes.running([recipes.program("slurmctld"), "-D", "-c"], folder / "slurmctld.log", env))
        for node in range(NODES):
            command = [recipes.program("slurmd"), "-D", "-c", "-N", f"n{node}"]
            stack.enter_context(recipes.running(command, folder / f"slurmd.n{node}.log", env))
        # Before the daemons are told to end: the controller takes ten seconds over a plain signal, and two over this.
        stack.callback(asked, ["scontrol", "shutdown"], env)
        stack.callback(asked, ["scancel", "--user", getpass.getuser()], env)
        idle = ["sinfo", "--noheader", "--Node", "--states=idle", "--format=%N"]
        recipes.until(
            lambda: len(asked(idle, env).split()) == NODES,
            lambda: "".join(log.read_text(errors="replace")[-2000:] for log in folder.glob("*.log")),
        )
        yield env


@contextlib.contextmanager
def ssh_server(folder: Path) -> Iterator[dict[str, object]]:
    """A server on two loopback addresses that takes one key; gives the arguments for ``asyncssh.connect``."""
    (port,) = free_ports(1)
    for name in ("host", "user"):
        make = [recipes.program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", folder / name]
        subprocess.run(make, check=True, timeout=30)
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    kind, key, *_ = (folder / "host.pub").read_text().split()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port},[127.0.0.2]:{port} {kind} {key}\n")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nListenAddress 127.0.0.2\nHostKey {folder}/host\nPidFile {folder}/pid\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        "PermitRootLogin prohibit-password\n"
        # As environment() does; who logs in starts with none.
        f"SetEnv PYTHONPATH={recipes.ROOT}\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(
            mode=0o755, exist_ok=True
        )  # its home without privileges, which a package's service makes
    command = [recipes.program("sshd"), "-D", "-e", "-f", folder / "sshd_config"]
    with recipes.running(command, folder / "log", recipes.environment()) as server:
        server.until_it_says("listening on 127.0.0.1 port")
        yield {
            "port": port,
            "username": getpass.getuser(),
            "client_keys": [str(folder / "user")],
            "known_hosts": str(folder / "known_hosts"),
            "agent_path": None,
        }
