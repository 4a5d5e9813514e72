#!/usr/bin/env bash
# Start a SLURM of one node on the loopback interface, run a command in it, and stop it.
#
#     bash benchmarks/slurm_sweep.sh [--scratch FOLDER]    # runs slurm_sweep.py: a sweep with faults
#     bash benchmarks/slurm_sweep.sh COMMAND [ARGUMENTS]   # runs another command
#
# It needs root and Debian's packages, but no systemd:
#     apt-get install -y --no-install-recommends slurmctld slurmd slurm-client slurmdbd munge mariadb-server
# All files are in a temporary folder, which is removed at the end. CPUS (default 2) is the number of
# CPUs of the node. PYTHON (default python) is the interpreter of slurm_sweep.py.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
for program in munged mariadbd slurmdbd slurmctld slurmd; do
  if ! command -v "$program" >/dev/null; then
    echo "$program: is not installed; type: apt-get install -y --no-install-recommends" \
      "slurmctld slurmd slurm-client slurmdbd munge mariadb-server" >&2
    exit 2
  fi
done

root=$(mktemp -d /tmp/slurm.XXXXXX)
chmod 755 "$root"
export SLURM_NODE_FOLDER=$root
node=$(hostname -s)
export SLURM_CONF=$root/slurm.conf
pids=()

stop() {
  # slurmd is not in the list: a test may have replaced it, so its pid is in a file.
  [ -f "$root/slurmd.pid" ] && kill "$(cat "$root/slurmd.pid")" 2>/dev/null
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
    kill "${pids[i]}" 2>/dev/null || true
    wait "${pids[i]}" 2>/dev/null || true
  done
  if [ -n "${KEEP_LOGS:-}" ]; then cp "$root"/*.log "$root"/*.conf "$KEEP_LOGS"; fi
  rm -rf "$root"
}
trap stop EXIT

# wait_until NAME COMMAND: repeat the command for up to 60 seconds until it succeeds.
wait_until() {
  for _ in $(seq 120); do
    if "${@:2}" >/dev/null 2>&1; then return 0; fi
    sleep 0.5
  done
  echo "$1 did not start; the end of its log:" >&2
  tail -n 20 "$root/$1.log" >&2
  exit 1
}

# Authentication between the daemons.
dd if=/dev/urandom of="$root/munge.key" bs=1024 count=1 2>/dev/null
chmod 400 "$root/munge.key"
munged --force --foreground --socket="$root/munge.sock" --key-file="$root/munge.key" \
  --pid-file="$root/munged.pid" --seed-file="$root/munge.seed" --log-file="$root/munged.log" \
  >"$root/munged.out" 2>&1 &
pids+=($!)
wait_until munged test -S "$root/munge.sock"

# Database of the accounting. Without accounting the launcher does not notice that a job was killed.
mariadb-install-db --no-defaults --user=root --datadir="$root/data" --skip-test-db \
  >"$root/mariadb-install.log" 2>&1
mariadbd --no-defaults --user=root --datadir="$root/data" --socket="$root/mariadb.sock" \
  --pid-file="$root/mariadb.pid" --bind-address=127.0.0.1 --port=26816 >"$root/mariadbd.log" 2>&1 &
pids+=($!)
wait_until mariadbd mariadb --no-defaults --socket="$root/mariadb.sock" -e "SELECT 1"
mariadb --no-defaults --socket="$root/mariadb.sock" -e "
  CREATE DATABASE slurm_acct_db;
  CREATE USER 'slurm'@'127.0.0.1' IDENTIFIED BY 'slurm';
  GRANT ALL ON slurm_acct_db.* TO 'slurm'@'127.0.0.1';
  CREATE USER 'slurm'@'localhost' IDENTIFIED BY 'slurm';
  GRANT ALL ON slurm_acct_db.* TO 'slurm'@'localhost';"

cat >"$root/slurmdbd.conf" <<END
AuthType=auth/munge
AuthInfo=socket=$root/munge.sock
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=26817
SlurmUser=root
PidFile=$root/slurmdbd.pid
LogFile=$root/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=26816
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
CommunicationParameters=NoInAddrAny
END
chmod 600 "$root/slurmdbd.conf"

cat >"$SLURM_CONF" <<END
ClusterName=loopback
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=26818
SlurmdPort=26819
CommunicationParameters=NoInAddrAny
SlurmUser=root
AuthType=auth/munge
# A requeued job starts again after 10 seconds; the default is 120.
AuthInfo=socket=$root/munge.sock,cred_expire=10
StateSaveLocation=$root/state
SlurmdSpoolDir=$root/spool
SlurmctldPidFile=$root/slurmctld.pid
SlurmdPidFile=$root/slurmd.pid
SlurmctldLogFile=$root/slurmctld.log
SlurmdLogFile=$root/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/linux
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=26817
AccountingStoragePass=$root/munge.sock
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
# A node that does not answer for 20 seconds is down; it is used again as soon as it answers.
SlurmdTimeout=20
ReturnToService=2
MinJobAge=3600
SlurmdParameters=config_overrides
NodeName=$node NodeAddr=127.0.0.1 CPUs=${CPUS:-2} RealMemory=8000 State=UNKNOWN
PartitionName=main Nodes=$node Default=YES MaxTime=INFINITE State=UP
END
mkdir -p "$root/state" "$root/spool"

SLURM_CONF=$root/slurmdbd.conf slurmdbd -D >"$root/slurmdbd.out" 2>&1 &
pids+=($!)
wait_until slurmdbd sacctmgr -n list cluster
slurmctld -D -f "$SLURM_CONF" >"$root/slurmctld.out" 2>&1 &
pids+=($!)
wait_until slurmctld scontrol ping
slurmd -f "$SLURM_CONF"  # a daemon: the command may stop it and start it again
node_is_idle() { [ "$(sinfo -h -o %T)" = idle ]; }
wait_until slurmd node_is_idle

if [ $# -eq 0 ] || [ "$1" = --scratch ]; then set -- "${PYTHON:-python}" "$here/slurm_sweep.py" "$@"; fi
"$@"
