#!/usr/bin/env bash
# A Slurm of two nodes with two cores each, on loopback, for tests: with accounting, without systemd.
#   slurm.sh up DIR [PORT]   starts it, and writes DIR/slurm.conf: export SLURM_CONF=DIR/slurm.conf
#   slurm.sh down DIR        ends its daemons
# Partition `low` is the default; a job in `high` preempts one there: that is told so, and put
# back in the queue. Everything lies under DIR; five ports from PORT on are used. Runs as root or as any user.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
usage() { sed -n '2,4s/^# *//p' "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage
verb=$1; mkdir -p "$2"; dir=$(cd "$2" && pwd); port=${3:-26817}
user=$(id -un); host=$(hostname -s)
# In the order in which they end.
daemons="slurmd-n1 slurmd-n2 slurmctld slurmdbd mariadbd munged"

pid_of() { cat "$dir/run/$1.pid" 2>/dev/null || true; }

# waits SECONDS COMMAND...: until it succeeds
waits() {
  local end=$(($(date +%s) + $1)); shift
  until "$@" >/dev/null 2>&1; do
    [ "$(date +%s)" -lt "$end" ] || { echo "slurm.sh: in vain: $*; see $dir/log" >&2; return 1; }
    sleep 0.1
  done
}

database() { mariadb --no-defaults --user=root --socket="$dir/run/db.sock" "$@"; }

start_database() {
  [ -d "$dir/db/mysql" ] || mariadb-install-db --no-defaults --datadir="$dir/db" --user="$user" \
    --auth-root-authentication-method=normal --skip-test-db >"$dir/log/db-install.log" 2>&1
  setsid mariadbd --no-defaults --datadir="$dir/db" --user="$user" --pid-file="$dir/run/mariadbd.pid" \
    --socket="$dir/run/db.sock" --bind-address=127.0.0.1 --port=$((port + 2)) --log-error="$dir/log/mariadbd.log" \
    --innodb-buffer-pool-size=64M --innodb-log-file-size=16M --innodb-lock-wait-timeout=900 >/dev/null 2>&1 </dev/null &
  waits 30 database -e 'select 1'
  database -e "create database if not exists slurm_acct_db;
    create user if not exists 'slurm'@'127.0.0.1' identified by 'slurm';
    grant all on slurm_acct_db.* to 'slurm'@'127.0.0.1';"
}

write_accounting() {
  (umask 077; cat >"$dir/slurmdbd.conf" <<CONF
AuthType=auth/munge
AuthInfo=socket=$dir/run/munge.sock
CommunicationParameters=NoInAddrAny
DbdHost=$host
DbdAddr=127.0.0.1
DbdPort=$((port + 1))
SlurmUser=$user
LogFile=$dir/log/slurmdbd.log
PidFile=$dir/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((port + 2))
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
CONF
)
}

# cred_expire: for how long a job that was put back waits. GraceTime: how long a preempted one may go on.
write_cluster() {
  cat >"$dir/slurm.conf" <<CONF
ClusterName=initlab
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$dir/run/munge.sock,cred_expire=5
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool-%n
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmdPidFile=$dir/run/slurmd-%n.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((port + 1))
AccountingStoragePass=$dir/run/munge.sock
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0
PriorityType=priority/basic
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
${SLURM_EXTRA:-}
JobRequeue=1
KillWait=15
InactiveLimit=0
SlurmctldTimeout=60
SlurmdTimeout=60
ReturnToService=2
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 3)) CPUs=2 CoresPerSocket=2 RealMemory=4000 State=UNKNOWN
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 4)) CPUs=2 CoresPerSocket=2 RealMemory=4000 State=UNKNOWN
PartitionName=low  Nodes=n1,n2 Default=YES PriorityTier=1  PreemptMode=REQUEUE GraceTime=${SLURM_GRACE:-20} MaxTime=UNLIMITED State=UP
PartitionName=high Nodes=n1,n2 Default=NO  PriorityTier=10 PreemptMode=OFF MaxTime=UNLIMITED State=UP
CONF
}

add_cluster() { sacctmgr -n list cluster format=cluster | grep -qw initlab || sacctmgr -i -Q add cluster initlab >/dev/null; }

nodes_idle() { [ "$(sinfo -h -N -p low -o '%t' | grep -c '^idle$')" = 2 ]; }

up() {
  mkdir -p "$dir"/{run,log,state,spool-n1,spool-n2}
  chmod 755 "$dir" "$dir/run"; chmod 700 "$dir/log"
  [ -f "$dir/munge.key" ] || (umask 077; head -c 128 /dev/urandom >"$dir/munge.key")
  munged --force --key-file="$dir/munge.key" --socket="$dir/run/munge.sock" --pid-file="$dir/run/munged.pid" \
    --log-file="$dir/log/munged.log" --seed-file="$dir/run/munged.seed"
  start_database
  write_accounting
  write_cluster
  export SLURM_CONF=$dir/slurm.conf
  slurmdbd
  waits 30 timeout 5 sacctmgr -n list cluster
  add_cluster
  slurmctld
  slurmd -N n1
  slurmd -N n2
  waits 30 nodes_idle
}

ended() { for name in $daemons; do pid=$(pid_of "$name"); [ -z "$pid" ] || ! kill -0 "$pid" 2>/dev/null || return 1; done; }

down() {
  for name in $daemons; do pid=$(pid_of "$name"); [ -z "$pid" ] || kill "$pid" 2>/dev/null || true; done
  waits 30 ended
}

case $verb in up) up ;; down) down ;; *) usage ;; esac
